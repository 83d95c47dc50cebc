"""Which English words speak for or against something: this project's own short list, written by hand.

Owns the list and the look-up of one word. It is prior knowledge for small training tables, no verdict: the model
learns from its table how much a listed word is worth. Must never grow by copying somebody's lexicon.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

# One entry a word; a star ends a stem, which stands for every word that begins so. A word wins over a stem, a longer stem over a
# shorter one; a `=` in front says that a word which a stem would match is neutral.
STRONG_POSITIVE: Final = """
    adore adored adores adoring amazing* awesome* beautiful* best blessed blessing* blissful breathtaking brilliant* delicious
    delight* dream ecstatic elated excellen* exceptional* excited exciting exquisite fabulous* fantastic* flawless* genius
    glorious gorgeous grateful* heaven* hilarious impeccable incredibl* joy joyful* joyous love loved lovely lover lovers
    loves loving magnificen* marvel* masterful masterpiece* miracle* outstanding overjoyed paradise perfect perfection
    perfectly phenomenal priceless radiant sensational spectacular* splendid* stellar stunning* sublime superb* superior
    terrific* thrill* thrilled treasure* triumph* unbeatable wonder wonderful* wondrous wow yay yayyy yummy
"""
POSITIVE: Final = """
    able absolve abundan* accept* acclaim* accomplish* accura* achiev* admir* advantage* adventur* affection* affordable agree
    agreeable agreed agrees alive amus* appeal* applau* appreciat* approv* artful assur* attract* award* bargain benefi*
    better bless bold bonus brave* bravery bright* calm* capable captivat* care cared cares caring celebrat* champion* charm*
    cheap cheer* cherish* classic classy clean clearly clever* comfort* commend* compassion* compliment* confident* congrat*
    considerate consistent* convenien* cool courage* cozy creativ* credib* crisp cure cured cute daring dazzl* decent dedicat*
    dependab* deserv* desir* dignity durable eager* ease easier easiest easily easy effective* efficien* elegan* embrac*
    empower* enchant* encourag* energetic engag* enjoy* enlighten* enrich* entertain* enthus* ethical excel excels fair fairly
    faith* famous fancy fascinat* faster fastest favor* favour* fine finest flexib* fond forgiv* fortun* free freedom* fresh
    friend* fulfill* fun funniest funny gain* generous* gentle* genuin* gift* glad* glamor* glow* good goodness grace graceful
    gracious grand great greater greatest greatly greet* grin* growth guarantee* ha haha* handsome handy happi* happy harmon*
    healing health healthy heart* help helped helpful* helping helps hero heroes heroic high-quality highlight honest* honor*
    honour* hope* hopeful* hoping hug hugs humor* humour* ideal* impress* improv* incentive inexpensive innovat* inspir*
    integrity intelligen* interest* intuitive invaluable jok* jolly justice keen kind kinder kindness kiss* laugh* legend*
    liberat* liberty like liked likes lmao lol luck lucky luxur* magic* mature meaningful memorable merci* merry mint modern
    motivat* neat nice nicely nicer nicest nifty noble optimis* outgoing passion* peace* pleas* plenty plus poetic polite
    popular positive* powerful praise* precious precise prefer* prestig* pretty privilege* prize productiv* progress* promis*
    prosper* protect* proud* pure quality quick quicker quickly quiet rave recommend* refin* refresh* relax* reliab* relief
    reliev* remarkab* rescue* resolv* respect* responsive restor* reward* rich richer robust romantic* safe safely safer
    safety satisf* save saved saves secur* sensible sharp shine* shiny silk* simple simpler simply sincer* skill* sleek smart*
    smile* smiling smooth* solid solution* solve* sophisticat* soul* special speedy spirit* stable strength* strong stronger
    strongest sturdy stylish succe* support* supreme sure surpris* sweet* swift* sympath* talent* tender thank* thanx
    thorough* thoughtful* thx top tranquil trust* truth* upgrade* useful user-friendly valid* valuab* value* versatil* vibrant
    victor* vivid warm* wealth* welcom* well whimsical willing* win winner* winning wins wisdom wise wisely won worth*
    worthwhile worthy yes youth*
    =hearted =heartbreak* =heartless =careless =careful =freed
"""
STRONG_NEGATIVE: Final = """
    abominable abus* abuse* abysmal agon* appall* atroc* awful* awfully brutal* catastroph* crap* cruel* cruelty dead* deadly
    death* deplorable despair* despicable devastat* disast* disgrac* disgust* dreadful* evil* excruciat* fatal* filth* fraud*
    fuck* garbage genocid* grief griev* gruesome hate hated hateful hates hating hatred hell hideous horrend* horribl* horrid
    horrif* horror* infuriat* intolerabl* kill killed killer killing kills loath* massacr* miser* murder* nightmar* pathetic*
    piss* rape* rapist* ridicul* ruin* shame* shit* slaughter* suck* suicid* terribl* terror* tortur* tragedy tragic* trash*
    unacceptabl* useless* vicious* victim* vile violen* vomit* worst worthless wretched wtf
"""
NEGATIVE: Final = """
    abandon* abrupt* absurd* accident* accus* ache* aching addict* afraid aggravat* aggress* alarm* alas alien* alone angr*
    anguish* annoy* anxi* apath* apolog* argue* argument* arrest* arrogan* asham* ass asshole* attack* avoid* awkward* bad
    badly ban bankrupt* banned barbar* bastard* battl* beg begged biased bitch* bitter* blam* bland bleak* bleed* blind*
    blood* blow blows bored boredom boring bother* break breaks broke broken bug buggy bugs bulk* bully* bummed bummer burden*
    burn* bust busted catch cautio* censor* chaos chaotic cheat* cheesy clash* clueless clumsy cold collaps* complain*
    complaint* complicat* concern* condemn* conflict* confus* contempt* contradict* controvers* corrupt* costly coward* crack*
    cramp* crash* crazy creep* cried cries crim* criminal* crippl* crisis criti* crook* crush* cry crying cumbersome curs*
    cynic* damage* damn* danger* dark* debt* deceiv* decept* declin* defeat* defect* deficien* deficit* delay* demean* denial
    denied deny depress* depriv* derogat* desperat* destroy* destruct* deteriorat* died dies difficult* dirt* disabl*
    disadvant* disagree* disappear* disappoint* disapprov* discomfort* discontinu* discourag* discrimin* diseas* dishonest*
    dislik* dismal dismay* dismiss* disorder* displeas* dispute* disrespect* disrupt* dissatisf* distort* distract* distress*
    disturb* doom* doubt* doubtful downgrade* downside* drag* drain* drawback* dread drop* drown* drunk* dull dumb* dump*
    dying embarrass* emergency empty enemies enemy enrag* error* exaggerat* exhaust* expens* explo* fail* fake fals* fault*
    fear* feeble fiasco fight* flaw* flimsy flood* fool* forbid* forc* foul fragile frail frantic freez* fright* froz*
    frustrat* furious* fury futile gag ghost* glitch* gloom* greed* grim gross* guilt* gun guns hack* halt* hamper* handicap*
    harass* hard harder hardest hardly harm* harsh* hassle* headache* heartbreak* heartless heavy helpless* hesitat* hopeless*
    hostage* hostil* humiliat* hunger* hungry hurt* hypocri* ignor* ill illegal* illness* impossib* impract* inaccura*
    inadequa* incompat* incompeten* inconsist* inconvenien* indifferen* inept inferior* inferno inflict* injur* injustice
    insan* insecur* insignifican* insult* interfer* interrupt* invad* invasion irrational* irrita* isolat* jail* jealous*
    jerk* junk* kidnap* lack* lame late lawsuit* lazy leak* liar* lie lied lies limit* lone lonely lose loser* loses losing
    loss* lost loud lousy low mad malfunction* malic* manipulat* meaningless mediocre melt* menac* mess* mindless misle*
    mislead* miss missed misses missing mistak* misunderst* moan* mock* monster* moron* mourn* nag* nasty naus* nazi*
    needless* neglect* nerv* noise noisy nonsense notorious nuisance* numb obnoxious obscen* obsess* obsolete obstacle*
    offend* offens* outdated outrag* overpriced overwhelm* pain* panic* paranoi* passive patheti* penalt* peril* pervers*
    pessimis* pity plagu* plague* poison* pollut* poor poorer poorest poorly poverty prejudic* pretentious prison* problem*
    protest* punish* puzzl* quit racis* rage* rat reckless* refund* refus* regret* reject* reluctan* repuls* resent* resign*
    restrict* retard* return* revenge* rid riot* risk* rob robbed robber* rotten rough* rude* rumor* rush sad sadden* sadder
    sadly sadness sarcas* scam* scandal* scar* scare* scary scold* scream* screw* seiz* selfish* sever* shaky shallow shatter*
    shock* shoot* shot shout* sick* silly skeptic* slam* slap* sloppy slow slower slowly sluggish slump* smash* smell* sneak*
    sob* sore sorrow* sorry spam* spoil* stab* stalk* starv* steal* stiff* stink* stole* stolen strain* strang* stress*
    strike* struggl* stubborn* stuck stumbl* stupid* sue* suffer* suspect* suspicio* swear* tactless tear tears tease*
    tension* thief thieves threat* tire tired tiresome torn tough* toxic* trap* trauma* tricky trivial* trouble* tumor*
    turmoil ugh* ugly unabl* unarm* unattract* unbear* unbeliev* uncertain* unclear uncomfort* undermin* uneas* unemploy*
    unethic* unfair* unfort* unfriend* unhapp* unhealth* uninspir* unjust* unkind* unlawful* unlik* unlucky unnatural*
    unnecess* unpleas* unpopular unpredict* unrealis* unreasonab* unreliab* unrest* unsafe unsatisf* unstable unsuccess*
    unsur* unwanted unwelcome unwilling* upset* vague* vain vulgar* vulnerab* war warn* wars wast* weak* weapon* weary weird*
    whin* wick* worr* wors* wound* wreck* wrong* yell* yikes yuck* zero
    =unlikely =stranger* =ragtime =harden* =ratio* =warming =wicker =sever =several =severa* =forces =limited =forced =force
    =missile =mission* =scarf =scarce =trapez* =dragon* =dumpling* =drops =droplet* =missouri =darker =concert* =concern
    =concerns =concerned =bloodline =battery =batter* =exploit* =snapshot =failsafe =trouble-free =risk-free
"""
_EMOTICONS_POSITIVE: Final = ":) :-) :)) =) :d :-d =d xd ;) ;-) :p :-p =p <3 :] (: ^_^ ^^ :3 c: 8) :* :-*"
_EMOTICONS_NEGATIVE: Final = ":( :-( :(( =( :[ ): :'( ;( :/ :-/ =/ :\\ :-\\ :s :| :-| >:( d: </3 -_- t_t ;_; :@ :c"
# Smiling, loving, cheering and approving characters; crying, angry, sick and disapproving ones.
_SIGNS_POSITIVE: Final = (
    "😀😁😂🤣😃😄😅😆😉😊😋😎😍😘🥰😗😙😚🙂🤗🤩☺😇🥳😌😛😜😝😸😹😺😻"
    "❤♥💕💖💗💘💙💚💛💜🧡💝💞💓👍👏🙌🙏💪🎉🎊✨🌟⭐🏆🔥💯✅🎁🌹🤞👌"
)
_SIGNS_NEGATIVE: Final = "😞😟😠😡🤬😢😭😤😩😫😖😣😒🙁☹😔😕😨😱😰😓😥😪🤢🤮🤧😷🤕🤒👎💔😾😿🙀💩🖕⚠❌🚫😬🙄😑😐🥺😳🥴☠💀"

STEM_LENGTH_MIN: Final = 2


def _entries() -> tuple[dict[str, int], dict[str, int]]:
    """(words, stems), each with its polarity: -2, -1, 1, 2, or 0 for a word taken out of a stem."""
    words: dict[str, int] = {}
    stems: dict[str, int] = {}
    for polarity, text in ((1, POSITIVE), (-1, NEGATIVE), (2, STRONG_POSITIVE), (-2, STRONG_NEGATIVE)):
        for entry in text.split():
            value = 0 if entry.startswith("=") else polarity
            name = entry.removeprefix("=")
            (stems if name.endswith("*") else words)[name.removesuffix("*")] = value
    for value, marks in ((1, _EMOTICONS_POSITIVE.split()), (-1, _EMOTICONS_NEGATIVE.split())):
        words.update(dict.fromkeys(marks, value))
    words.update(dict.fromkeys(_SIGNS_POSITIVE, 1))
    words.update(dict.fromkeys(_SIGNS_NEGATIVE, -1))
    return words, stems


_WORDS, _STEMS = _entries()
_LONGEST: Final = max(map(len, _STEMS))


@lru_cache(maxsize=8_192)
def polarity(word: str) -> int:
    """-2, -1, 0, 1 or 2: how a lower-case word, an emoticon or an emoji speaks by itself; 0 when it is not listed."""
    found = _WORDS.get(word)
    if found is not None:
        return found
    for length in range(min(len(word), _LONGEST), STEM_LENGTH_MIN - 1, -1):
        found = _STEMS.get(word[:length])
        if found is not None:
            return found
    return 0
