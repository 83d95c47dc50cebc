// What this shop adds to the SDK: asks for consent, and says what only a shop knows. Everything else is captured by itself.
(() => {
  "use strict";
  const ANSWER = "shop.consent";
  const call = (...given) => (window.reflexarc = window.reflexarc || []).push(given);

  const remembered = () => { try { return localStorage.getItem(ANSWER); } catch { return null; } };
  const remember = (answer) => { try { localStorage.setItem(ANSWER, answer); } catch { /* asked again on the next page */ } };

  const dialog = document.getElementById("consent");
  const ask = () => dialog.showModal();
  dialog.addEventListener("close", () => {
    if (!dialog.returnValue) return;
    if (dialog.returnValue === "yes") remember("yes"); // a refusal is not written down either: it is asked again
    call("consent", { analytics: dialog.returnValue === "yes" });
  });
  document.getElementById("consent-again").addEventListener("click", ask);
  // ?ask=no is for whoever looks at the page only, such as a screenshot.
  if (!remembered() && !new URLSearchParams(location.search).has("ask")) ask();

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-add]");
    if (!button) return;
    const { add, category, price } = button.dataset;
    call("track", "product_interaction", { product_id: add, kind: "add_to_cart", category, price: Number(price) });
    button.textContent = "In your basket";
  });

  const checkout = document.getElementById("checkout");
  checkout?.addEventListener("submit", (event) => {
    event.preventDefault();
    const order = "order-" + Date.now().toString(36);
    call("track", "purchase", { order_id: order, amount: 24.5, currency: "EUR", item_count: 2 });
    document.getElementById("thanks").textContent = "Thank you. This was " + order + ".";
  });

  // An application in one page: what is shown changes, the document does not.
  const finder = document.getElementById("finder");
  if (finder) {
    const show = () => {
      const taste = location.pathname.split("/")[2] || "";
      document.title = (taste ? taste + " teas" : "Tea finder") + " · Leaf & Kettle";
      finder.textContent = taste ? "You like it " + taste + "." : "How do you like it?";
    };
    document.querySelectorAll("[data-taste]").forEach((link) => link.addEventListener("click", (event) => {
      event.preventDefault();
      history.pushState({}, "", link.getAttribute("href"));
      show();
    }));
    addEventListener("popstate", show);
    show();
  }
})();
