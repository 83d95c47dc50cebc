"""EmailService."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_proto.v1 import email_service_pb2 as messages
from reflexarc_proto.v1.email_service_pb2_grpc import EmailServiceServicer
from reflexarc_proto.wire import subject_from_proto, subject_to_proto
from reflexarc_server.email.campaigns import page_of
from reflexarc_server.email.log import MailLog
from reflexarc_server.email.opens import opens_of
from reflexarc_server.email.path import GOALS, MailPath, paths_of
from reflexarc_server.email.prepare import Message, Preparer
from reflexarc_server.email.token import check_message_id
from reflexarc_server.inbound.polling import MailboxStatus, Poller
from reflexarc_server.parts import Parts
from reflexarc_server.site.email import Email


class EmailServicer(EmailServiceServicer):
    """See the contract."""

    def __init__(self, parts: Parts, section: Email, pollers: Sequence[Poller] = ()) -> None:
        self._pollers = pollers
        self._clock = parts.clock
        self._section = section
        self._log = MailLog(parts.store, parts.links)
        self._preparer = Preparer(section.signer(), section.base_url) if section.is_on else None

    def PrepareEmail(self, request: messages.PrepareEmailRequest, context: grpc.ServicerContext) -> messages.PrepareEmailResponse:
        if self._preparer is None:
            raise DefinitionError("this server has no mail", hint="give its site file an email section")
        now, section = self._clock.now_ms(), self._section
        about = Message(
            request.message_id, subject_from_proto(request.subject), request.campaign, now, dict(request.utm),
            now + section.links_expire_ms if section.links_expire_ms else 0, section.purpose,
            request.offset_minutes,
        )  # fmt: skip
        made = self._preparer.prepare(request.html, request.text, about, pixel=not request.no_pixel)
        return messages.PrepareEmailResponse(
            html=made.html,
            text=made.text,
            links=[messages.TrackedLink(position=e.position, url=e.url, tracked_url=e.tracked_url) for e in made.links],
            left=[messages.LeftLink(url=each.url, reason=each.reason) for each in made.left],
            unsubscribe_url=made.unsubscribe_url,
        )

    def GetEmailPath(self, request: messages.GetEmailPathRequest, context: grpc.ServicerContext) -> messages.GetEmailPathResponse:
        subject = subject_from_proto(request.subject) if request.HasField("subject") else ""
        if not subject:
            if not request.message_id:
                raise InvalidEventError("nobody's mail", hint="say whose, or which mail")
            known = self._log.of_message(request.message_id)
            if not known:
                return messages.GetEmailPathResponse()
            subject = known[0].subject
        found = paths_of(self._log.of_person(subject), request.message_id, tuple(request.goals) or GOALS)
        return messages.GetEmailPathResponse(paths=[_encode(path) for path in found])

    def ListMailboxes(
        self, request: messages.ListMailboxesRequest, context: grpc.ServicerContext
    ) -> messages.ListMailboxesResponse:
        return messages.ListMailboxesResponse(mailboxes=[_status(poller.status) for poller in self._pollers])

    def CountCampaigns(
        self, request: messages.CountCampaignsRequest, context: grpc.ServicerContext
    ) -> messages.CountCampaignsResponse:
        if request.after:
            check_message_id(request.after)
        found, last = page_of(self._log, request.campaign, tuple(request.goals) or GOALS, request.after)
        return messages.CountCampaignsResponse(
            campaigns=[
                messages.CampaignCount(
                    campaign=name,
                    mail_count=one.mails,
                    sent_count=one.sent,
                    bounced_count=one.bounced,
                    opened_count=one.opened,
                    clicked_count=one.clicked,
                    converted_count=one.converted,
                    replied_count=one.replied,
                    unsubscribed_count=one.unsubscribed,
                    complained_count=one.complained,
                    machine_count=one.machines,
                )
                for name, one in sorted(found.items())
            ],
            next_after=last,
        )

    def GetEmailOpens(
        self, request: messages.GetEmailOpensRequest, context: grpc.ServicerContext
    ) -> messages.GetEmailOpensResponse:
        found = opens_of(self._log.of_person(subject_from_proto(request.subject)), request.campaign)
        return messages.GetEmailOpensResponse(
            sent_mail_count=found.mails_sent,
            opened_mail_count=found.mails_opened,
            open_count=found.opens,
            proxy_open_count=found.through_proxy,
            machine_open_count=found.machine_opens,
            first_time=found.first_time,
            last_time=found.last_time,
            offset_minutes=found.offset_minutes,
            hours=found.hours,
            clients=found.clients,
            devices=found.devices,
            systems=found.systems,
            proxies=found.proxies,
        )


def _status(found: MailboxStatus) -> messages.MailboxStatus:
    return messages.MailboxStatus(
        name=found.name,
        taken_count=found.taken_count,
        duplicate_count=found.duplicate_count,
        set_aside_count=found.set_aside_count,
        set_aside=[messages.MailSetAside(key=each.key, reason=each.reason, time=each.time) for each in found.set_aside],
        round_time=found.round_time,
        failure_count=found.failure_count,
        reason=found.reason,
    )


def _encode(path: MailPath) -> messages.EmailPath:
    return messages.EmailPath(
        message_id=path.message_id,
        subject=subject_to_proto(path.subject),
        campaign=path.campaign,
        steps=[
            messages.EmailStep(
                event_type=step.event_type,
                subject=subject_to_proto(step.subject),
                event_time=step.time,
                since_ms=step.since_ms,
                place=step.place,
                machine=step.machine,
            )
            for step in path.steps
        ],
        converted=path.converted,
        click_to_goal_ms=path.click_to_goal_ms,
        sent_to_goal_ms=path.sent_to_goal_ms,
    )
