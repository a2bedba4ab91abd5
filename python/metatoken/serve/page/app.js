const $ = (id) => document.getElementById(id);
const chosen = []; // {item, title}, oldest first
let found = [];
let active = -1;
let searches = 0; // only the answer to the latest search is shown
let asks = 0;
let timer;
let completing;
let state = { shows_users: false, tasks: [] };
let asked = ""; // the known user of the list that is shown, "" for a stranger

function element(name, text, className) {
  const one = document.createElement(name);
  if (text !== undefined) one.textContent = text; // never innerHTML: titles are data
  if (className) one.className = className;
  return one;
}

const label = (one) => one.title || one.item;

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw { message: "The server does not answer. Is it still running?" };
  }
  let value;
  try {
    value = await response.json();
  } catch {
    throw { message: `The server answered ${response.status} without a reason.` };
  }
  if (!response.ok) throw value.error || { message: `The server answered ${response.status}.` };
  return value;
}

/* What the run holds */

async function about() {
  state = await ask("health");
  $("about").textContent =
    `${state.items.toLocaleString("en")} items, ${state.users.toLocaleString("en")} known users. ` +
    "Pick what somebody has had, oldest first, and see what comes next.";
  $("k").max = state.limits.k;
  const rows = Object.entries(state.columns).flatMap(([name, kind]) => {
    const written = /^[\p{L}_][\p{L}\p{N}_]*$/u.test(name) ? name : "`" + name + "`";
    return [element("dt", written), element("dd", kind)];
  });
  $("columns").replaceChildren(...rows);
}

/* Search for items by title */

function close() {
  searches += 1;
  clearTimeout(timer);
  $("found").hidden = true;
  $("search").setAttribute("aria-expanded", "false");
  $("search").removeAttribute("aria-activedescendant");
  active = -1;
}

function choose(place) {
  active = place;
  [...$("found").children].forEach((one, n) => {
    one.setAttribute("aria-selected", String(n === place));
    if (n === place) one.scrollIntoView({ block: "nearest" });
  });
  if (place >= 0) $("search").setAttribute("aria-activedescendant", `found-${place}`);
}

function option(one, place) {
  const row = element("li", label(one));
  row.id = `found-${place}`;
  row.setAttribute("role", "option");
  if (one.title) row.append(" ", element("span", one.item, "id"));
  row.addEventListener("mousedown", (event) => {
    event.preventDefault(); // the search keeps the focus
    add(one);
  });
  return row;
}

async function search() {
  const text = $("search").value.trim();
  if (!text) return close();
  const mine = (searches += 1);
  let rows;
  try {
    found = (await ask(`items?limit=12&q=${encodeURIComponent(text.slice(0, 200))}`)).items;
    rows = found.length ? found.map(option) : [element("li", "No item has these words.", "none")];
  } catch (error) {
    found = [];
    rows = [element("li", error.message, "none")];
  }
  if (mine !== searches) return;
  $("found").replaceChildren(...rows);
  $("found").hidden = false;
  $("search").setAttribute("aria-expanded", "true");
  choose(found.length ? 0 : -1);
}

function add(one) {
  chosen.push(one);
  $("search").value = "";
  close();
  show();
}

function show() {
  const rows = chosen.map((one, place) => {
    const row = element("li");
    const remove = element("button", "Remove");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove ${label(one)}`);
    remove.addEventListener("click", () => {
      chosen.splice(place, 1);
      show();
      $("search").focus();
    });
    row.append(element("span", label(one)), remove);
    return row;
  });
  $("history").replaceChildren(...rows);
  $("empty").hidden = chosen.length > 0;
  $("clear").hidden = chosen.length === 0;
}

/* Recommendations */

function complain(error) {
  $("error").textContent = error.message.replace(/^where: /, "Filter, ");
  $("error").hidden = false;
  if (error.field === "where" && error.position) {
    $("where").setAttribute("aria-invalid", "true");
    const before = [...$("where").value].slice(0, error.position - 1).join("");
    $("where-error").textContent = `${$("where").value}\n${" ".repeat([...before].length)}^`;
    $("where-error").hidden = false;
  }
}

function facts(pairs) {
  const list = element("dl");
  for (const [name, value] of pairs) {
    const text = Array.isArray(value) ? value.join(", ") : String(value);
    list.append(element("dt", name), element("dd", text));
  }
  return list;
}

/* Columns and tokens of an item, asked for when they are opened */

function details(one) {
  const box = element("details", undefined, "about");
  box.append(element("summary", "Details"));
  const body = element("div", "Asking …");
  box.append(body);
  box.querySelector("summary").setAttribute("aria-label", `Details of ${label(one)}`);
  const user = asked;
  box.addEventListener("toggle", async () => {
    if (!box.open || box.dataset.read) return;
    box.dataset.read = "yes";
    try {
      const known = await ask(`item?id=${encodeURIComponent(one.item)}`);
      const columns = Object.entries(known.columns).filter(([, value]) => value !== null);
      body.replaceChildren(facts([["item", known.item], ["tokens", known.tokens], ...columns]));
      if (user && state.tasks.includes("explanation")) body.append(why(user, one));
    } catch (error) {
      delete box.dataset.read;
      body.replaceChildren(element("p", error.message));
    }
  });
  return box;
}

function why(user, one) {
  const button = element("button", `Why for ${user}?`, "plain");
  button.type = "button";
  button.addEventListener("click", async () => {
    const said = element("p", "Asking …", "why");
    button.replaceWith(said);
    const body = JSON.stringify({ user, item: one.item });
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body };
    try {
      said.textContent = (await ask("explain", options)).answer;
    } catch (error) {
      said.textContent = error.message;
    }
  });
  return button;
}

/* Known users, where the server shows them */

async function complete() {
  const text = $("user").value.trim();
  if (!state.shows_users || !text) return $("users").replaceChildren();
  const { users } = await ask(`users?q=${encodeURIComponent(text.slice(0, 200))}`);
  $("users").replaceChildren(...users.map((id) => Object.assign(element("option"), { value: id })));
}

async function taken() {
  const user = $("user").value.trim();
  $("taken").hidden = true;
  if (!state.shows_users || !user) return;
  let known;
  try {
    known = await ask(`history?user=${encodeURIComponent(user)}`);
  } catch {
    return; // no such user: asking for recommendations says so
  }
  if (user !== $("user").value.trim()) return;
  const last = known.items.slice(-8);
  $("taken-title").textContent = last.length < known.total ? `The last ${last.length} of ${known.total} items:` : "Had:";
  $("took").start = known.total - last.length + 1;
  $("took").replaceChildren(...last.map((one) => element("li", label(one))));
  $("taken").hidden = false;
}

function entry(one, best) {
  const row = element("li");
  const title = element("span", label(one), "title");
  if (one.title) title.append(" ", element("span", one.item, "id"));
  const bar = element("div", undefined, "bar");
  const part = element("span");
  part.style.width = `${best > 0 ? (100 * one.score) / best : 0}%`;
  bar.setAttribute("aria-hidden", "true");
  bar.append(part);
  const score = one.score >= 0.001 || one.score === 0 ? one.score.toFixed(4) : one.score.toExponential(1);
  row.append(element("span", `${one.rank}.`, "rank"), title, element("span", score, "score"), bar, details(one));
  return row;
}

async function recommend() {
  const user = $("user").value.trim();
  const body = { k: Number($("k").value), model: $("model").value, exclude_seen: !$("seen").checked };
  if ($("where").value.trim()) body.where = $("where").value;
  if (user) body.user = user;
  if (chosen.length || !user) body.history = chosen.map((one) => one.item);
  $("error").hidden = $("where-error").hidden = true;
  $("where").removeAttribute("aria-invalid");
  $("status").textContent = "Asking …";
  $("go").disabled = true;
  const mine = (asks += 1);
  try {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await ask("recommend", options);
    if (mine !== asks) return;
    const items = answer.items;
    asked = chosen.length ? "" : user;
    $("list").replaceChildren(...items.map((one) => entry(one, items[0].score)));
    const few = items.length < body.k ? "; no more are allowed" : "";
    $("status").textContent = items.length ? `${items.length} items${few}.` : "No item is allowed by this filter.";
  } catch (error) {
    if (mine !== asks) return;
    $("list").replaceChildren();
    $("status").textContent = "No answer.";
    complain(error);
  } finally {
    $("go").disabled = false;
  }
  const { top } = $("results").getBoundingClientRect();
  if (top < 0 || top > 0.7 * window.innerHeight) $("results").scrollIntoView({ block: "start" }); // narrow screens
}

$("search").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(search, 120);
});
$("search").addEventListener("blur", close);
$("search").addEventListener("keydown", (event) => {
  const open = !$("found").hidden;
  if (event.key === "Enter") {
    event.preventDefault(); // Enter adds an item and never sends the form
    if (open && active >= 0) add(found[active]);
  } else if (event.key === "Escape") {
    close();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && open && found.length) {
    event.preventDefault();
    choose((active + (event.key === "ArrowDown" ? 1 : found.length - 1)) % found.length);
  }
});
$("clear").addEventListener("click", () => {
  chosen.length = 0;
  show();
  $("search").focus();
});
$("user").addEventListener("input", () => {
  clearTimeout(completing);
  completing = setTimeout(() => complete().catch(() => {}), 120);
});
$("user").addEventListener("change", taken);
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  recommend();
});
about().catch((error) => complain(error));
