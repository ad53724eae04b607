// The search page: Pagefind where there is a server, Sphinx's own search where the page is a file.
const query = new URLSearchParams(location.search).get("q") ?? "";

function ownSearch() {
  for (const name of ["_static/searchtools.js", "_static/language_data.js", "searchindex.js"]) {
    const script = document.createElement("script");
    script.src = name;
    script.async = false;
    document.body.append(script);
  }
}

async function find() {
  const pagefind = await import(new URL("pagefind/pagefind.js", location.href));
  await pagefind.options({ excerptLength: 25 });
  const { results } = await pagefind.search(query);
  const place = document.getElementById("search-results");
  const count = document.createElement("p");
  count.role = "status";
  count.textContent = results.length ? `${results.length} pages have “${query}”.` : `No page has “${query}”.`;
  const list = document.createElement("ol");
  list.className = "found";
  for (const { data } of results.slice(0, 20)) {
    const page = await data();
    const item = document.createElement("li");
    const link = (to, text) => {
      const anchor = document.createElement("a");
      anchor.href = to;
      anchor.textContent = text.replace(/#$/, "");
      return anchor;
    };
    const words = document.createElement("p");
    words.innerHTML = page.excerpt;
    item.append(link(page.url, page.meta.title), words);
    const parts = page.sub_results.filter((part) => part.url !== page.url).slice(0, 3);
    if (parts.length) {
      const inside = document.createElement("p");
      inside.append("In it: ");
      parts.forEach((part, which) => inside.append(which ? ", " : "", link(part.url, part.title)));
      item.append(inside);
    }
    list.append(item);
  }
  place.replaceChildren(count, list);
}

for (const field of document.querySelectorAll("form.bd-search input")) field.value = query;
if (!location.protocol.startsWith("http")) ownSearch();
else if (query) find().catch(ownSearch);
