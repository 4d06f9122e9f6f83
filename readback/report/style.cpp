#include "readback/report/page.h"

namespace readback::report {

namespace {

constexpr const char* kColors = R"css(
:root {
  color-scheme: light dark;
  --paper: #faf8f3; --card: #fffefb; --ink: #23201b; --soft: #6a645a; --line: #e4ded2; --well: #f2eee5;
  --warm: #a8461f; --warm-tint: #f7e7dc; --cool: #16636e; --cool-tint: #dceef0;
  --right: #2c6b3f; --partly: #8a5800; --wrong: #a02b3c; --shadow: 0 1px 2px rgb(60 45 20 / .05), 0 8px 28px rgb(60 45 20 / .05);
  --serif: ui-serif, "Iowan Old Style", "Palatino Linotype", Palatino, "URW Palladio L", P052, Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #151412; --card: #1d1b19; --ink: #ece6da; --soft: #a59d8f; --line: #35312b; --well: #262320;
    --warm: #f0986a; --warm-tint: #3a261b; --cool: #6cc3cd; --cool-tint: #17323a;
    --right: #84c795; --partly: #e0b25a; --wrong: #f08c98; --shadow: none;
  }
}
.i2t2i { --accent: var(--warm); --tint: var(--warm-tint); }
.t2i2t { --accent: var(--cool); --tint: var(--cool-tint); }
)css";

constexpr const char* kType = R"css(
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 4.5rem; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 400 1rem/1.55 var(--sans); }
header.opening, main, footer, nav ul { max-width: 74rem; margin-inline: auto; padding-inline: clamp(1.1rem, 4vw, 2.5rem); }
h1, h2, h3, h4, h5, p, figure, ol, ul, dl, dd { margin: 0; padding: 0; }
h1, h2, h3 { font-family: var(--serif); font-weight: 500; line-height: 1.12; text-wrap: balance; }
h1 { font-size: clamp(2.9rem, 8.5vw, 5.6rem); letter-spacing: -.025em; }
h2 { font-size: clamp(1.75rem, 4vw, 2.6rem); letter-spacing: -.015em; }
h3 { font-size: 1.35rem; }
h4 { font-size: .95rem; font-weight: 600; }
h5 { font-size: .78rem; font-weight: 600; color: var(--soft); }
ol, ul { list-style: none; }
a { color: inherit; text-underline-offset: .2em; }
code, pre { font-family: var(--mono); font-size: .86em; overflow-wrap: anywhere; }
q, .prompt q { font-family: var(--serif); font-style: italic; quotes: "“" "”"; unicode-bidi: isolate; overflow-wrap: anywhere; }
:focus-visible { outline: 2px solid var(--accent, var(--warm)); outline-offset: 3px; border-radius: 4px; }
summary { cursor: pointer; }
.soft, .meaning, .lead, .detail { color: var(--soft); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; padding: .5rem 1rem; background: var(--card); z-index: 9; }
img { display: block; max-width: 100%; height: auto; background: var(--well); }
img.pixels { image-rendering: pixelated; }
.silent { color: var(--soft); }
)css";

constexpr const char* kOpening = R"css(
header.opening { padding-block: clamp(1.5rem, 4vw, 2.75rem) clamp(2rem, 5vw, 3.5rem); }
.brand { display: flex; align-items: center; gap: .55rem; font-weight: 600; letter-spacing: .01em; margin-bottom: clamp(2rem, 6vw, 4.5rem); }
.emblem { width: 1.9rem; }
.emblem path, .arc path { fill: none; stroke-linecap: round; stroke-linejoin: round; }
.emblem path { stroke-width: 3.2; stroke: var(--warm); }
.emblem .back { stroke: var(--cool); }
.said { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1.5rem clamp(2rem, 5vw, 4.5rem); margin-top: clamp(1.4rem, 3vw, 2.2rem); }
.lede { max-width: 46rem; overflow-wrap: anywhere; font-size: clamp(1.05rem, 1.6vw, 1.2rem); line-height: 1.6; }
.answer { font: 500 clamp(1.15rem, 2vw, 1.4rem)/1.42 var(--serif); display: grid; gap: .9rem; align-content: start; }
.answer > span { border-left: 3px solid var(--accent); padding-left: 1rem; }
.answer strong { color: var(--accent); font-weight: 600; }
.journeys { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1.5rem; margin-top: clamp(2rem, 5vw, 3.25rem); }
.journey { background: var(--tint); border-radius: 20px; padding: 1.25rem 1.5rem 1.6rem; min-width: 0; }
.journey figcaption { color: var(--accent); font-weight: 600; font-size: .9rem; margin-bottom: 1.1rem; }
.journey .stages { display: grid; align-items: center; gap: .7rem; }
.journey.i2t2i .stages { grid-template-columns: minmax(0, 1fr) 2.4rem minmax(0, 1.1fr) 2.4rem minmax(0, 1fr); }
.journey.t2i2t .stages { grid-template-columns: minmax(0, 1.05fr) 2.4rem minmax(0, 1fr) 2.4rem minmax(0, 1.05fr); }
.journey img { width: 100%; border-radius: 10px; }
.journey q { font-size: 1.08rem; line-height: 1.35; display: block; text-align: center; }
.arc { width: 2.4rem; display: block; }
.arc path { stroke: var(--accent); stroke-width: 2.6; }
nav { position: sticky; top: 0; z-index: 5; background: color-mix(in srgb, var(--paper) 90%, transparent); backdrop-filter: blur(10px); border-block: 1px solid var(--line); }
nav ul { display: flex; gap: clamp(1.1rem, 3vw, 2rem); overflow-x: auto; scrollbar-width: none; padding-block: .8rem; font-size: .92rem; white-space: nowrap; }
nav a { text-decoration: none; color: var(--soft); padding-block: .2rem; }
nav a:hover { color: var(--ink); text-decoration: underline; }
section { padding-block: clamp(2.75rem, 7vw, 5rem) 0; }
#figures { padding-top: clamp(2.25rem, 5vw, 3.5rem); }
.lead { max-width: 46rem; margin-top: .8rem; font-size: 1.05rem; }
.way > section > h2 { color: var(--accent); }
.way > h3 { margin: 2.5rem 0 1rem; color: var(--accent); }
)css";

constexpr const char* kCards = R"css(
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.5rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 20px; box-shadow: var(--shadow); padding: clamp(1.25rem, 3vw, 2rem); min-width: 0; }
.card h3 { color: var(--accent); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 13rem), 1fr)); gap: 1.5rem 2rem; margin-top: 1.4rem; }
.value { font: 500 clamp(2.6rem, 5.5vw, 3.6rem)/1.05 var(--serif); letter-spacing: -.03em; font-variant-numeric: lining-nums; margin-top: .35rem; }
.meaning { font-size: .93rem; max-width: 40rem; }
.figure .range { width: 100%; margin: .6rem 0 .25rem -2.5%; max-width: 17rem; }
.detail { display: flex; flex-wrap: wrap; gap: .1rem .9rem; font-size: .84rem; font-variant-numeric: tabular-nums; }
.ranks { margin-top: 1.8rem; padding-top: 1.4rem; border-top: 1px solid var(--line); }
.notes { margin-top: 1.25rem; color: var(--soft); font-size: .93rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin-top: .6rem; }
th, td { text-align: left; padding: .5rem .9rem .5rem 0; border-bottom: 1px solid var(--line); vertical-align: top; font-weight: 400; }
tr > :last-child { padding-right: 0; }
thead th { color: var(--soft); font-size: .8rem; white-space: nowrap; padding-bottom: .35rem; }
.n { text-align: right; white-space: nowrap; }
td strong { font-weight: 600; }
.card tbody tr:last-child > * { border-bottom: 0; }
.verdict { white-space: nowrap; font-weight: 600; }
.verdict::before { content: ""; display: inline-block; width: .55em; height: .55em; border-radius: 50%; margin-right: .45em; background: currentColor; }
.verdict.yes { color: var(--right); }
.verdict.no { color: var(--wrong); }
.verdict.open { color: var(--soft); font-weight: 400; }
.verdict.open::before { background: none; border: 1.5px solid currentColor; }
.range { display: block; }
.range line { stroke-linecap: round; }
.range .grid, .plot .grid { stroke: var(--line); stroke-width: 1; }
.range .interval { stroke: var(--accent); stroke-width: 5; opacity: .35; }
.range .dot { fill: var(--accent); }
.range line.floor { stroke: var(--soft); stroke-width: 3; opacity: .35; }
.range circle.floor { fill: var(--card); stroke: var(--soft); stroke-width: 1.6; }
)css";

constexpr const char* kGallery = R"css(
.legend { display: block; margin-top: 1rem; font-size: .86rem; color: var(--soft); }
.group { margin: 2.6rem 0 0; }
.group .meaning { margin-top: .3rem; }
.exhibits { display: grid; gap: 1.25rem; margin-top: 1.1rem; }
.exhibit { background: var(--card); border: 1px solid var(--line); border-radius: 18px; box-shadow: var(--shadow); min-width: 0; }
.exhibit .stages { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) minmax(0, 1.1fr) minmax(0, 1fr); gap: clamp(1rem, 2.6vw, 2.2rem); padding: clamp(1.1rem, 2.4vw, 1.7rem); }
.exhibit .stages > * { min-width: 0; }
.exhibit h5 { margin-bottom: .7rem; display: flex; justify-content: space-between; gap: .5rem; }
.distance { font-variant-numeric: tabular-nums; font-weight: 400; color: var(--soft); white-space: nowrap; }
.image { position: relative; }
.image img { width: 100%; border-radius: 10px; }
.start { display: flex; flex-direction: column; }
.start .reference { margin-top: .7rem; font-size: .95rem; line-height: 1.4; }
.start .reference q { font-style: normal; }
.sample { color: var(--soft); font: .76rem var(--mono); margin-top: auto; padding-top: .6rem; overflow-wrap: anywhere; }
.prompt { font-size: clamp(1.2rem, 2vw, 1.45rem); line-height: 1.3; }
.aside { display: grid; grid-template-columns: 4.5rem 1fr; gap: .8rem; align-items: center; margin-top: 1.2rem; color: var(--soft); }
.aside .reference { margin: 0; font-size: .82rem; line-height: 1.35; }
.outcome { display: flex; flex-direction: column; gap: .75rem; }
.outcome h5 { margin-bottom: 0; }
.outcome.best h5 { color: var(--accent); }
.outcome .words { line-height: 1.35; }
.i2t2i .outcome .words { min-height: 4.05em; }
.outcome .arc { width: 2rem; transform: rotate(90deg); margin: .3rem auto; }
.i2t2i .outcome .image { margin-top: auto; }
.worst .arc path { stroke: var(--soft); }
.worst .image img { opacity: .92; }
.mark { white-space: nowrap; font-size: .8rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.mark.right { color: var(--right); }
.mark.partly { color: var(--partly); }
.mark.wrong { color: var(--wrong); }
.image .mark { position: absolute; right: .5rem; bottom: .5rem; background: var(--card); border-radius: 99px; padding: .1rem .55rem; box-shadow: 0 1px 3px rgb(0 0 0 / .2); }
.remark { font-size: .8rem; color: var(--wrong); }
.between ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(3.9rem, 1fr)); gap: .55rem; }
.between img { width: 100%; border-radius: 6px; aspect-ratio: 1; object-fit: cover; }
.between li { position: relative; }
.pie { display: inline-block; width: .8em; height: .8em; margin-right: .35em; border-radius: 50%; border: 1.5px solid currentColor; background: conic-gradient(currentColor var(--share), var(--card) 0); vertical-align: -.06em; }
.between .pie { position: absolute; right: .25rem; bottom: .25rem; margin: 0; width: .85rem; height: .85rem; color: var(--wrong); box-shadow: 0 0 0 1.5px var(--card); }
.between .saying { margin-top: .7rem; font-size: .88rem; line-height: 1.35; min-height: 2.7em; }
.blanked { padding: 0 clamp(1.1rem, 2.4vw, 1.7rem) .9rem; font-size: .88rem; }
.words-of-all { border-top: 1px solid var(--line); padding: .7rem clamp(1.1rem, 2.4vw, 1.7rem); font-size: .92rem; }
.words-of-all summary { color: var(--soft); font-size: .86rem; }
.words-of-all > div { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: .5rem 2.5rem; padding: .9rem 0 .5rem; }
.words-of-all ol { list-style: decimal; padding-left: 1.6rem; }
.words-of-all ol li::marker { color: var(--soft); font-size: .85em; font-variant-numeric: tabular-nums; }
.words-of-all li { margin-bottom: .3rem; }
.words-of-all h5 { margin-bottom: .4rem; }
.missing { aspect-ratio: 1; display: grid; place-items: center; border-radius: 10px; background: var(--well); color: var(--soft); font-size: .85rem; }
)css";

constexpr const char* kNumbers = R"css(
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 1.25rem; }
.lead + .plots, .lead + .cards, .lead + .exhibits, .scroll + .plots { margin-top: 1.25rem; }
.curve-card { background: var(--card); border: 1px solid var(--line); border-radius: 16px; padding: 1.1rem 1.2rem; min-width: 0; }
.curve-card figcaption { display: flex; flex-direction: column; line-height: 1.35; margin-bottom: .5rem; }
.curve-card figcaption span { color: var(--soft); font-size: .86rem; }
.plot { width: 100%; display: block; overflow: visible; }
.plot text { font: 11px var(--sans); fill: var(--soft); font-variant-numeric: tabular-nums; }
.plot .band { fill: var(--accent); opacity: .16; }
.plot .curve { fill: none; stroke: var(--accent); stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.plot .dot { fill: var(--card); stroke: var(--accent); stroke-width: 2; }
.plot .dot:hover { fill: var(--accent); }
.plot .pairs { fill: none; stroke: var(--soft); stroke-width: 1.6; stroke-dasharray: 4 4; }
.plot line.half { stroke: var(--accent); stroke-width: 1.4; stroke-dasharray: 2 3; }
.plot circle.half { fill: var(--accent); }
.curve-card .detail { margin-top: .6rem; }
details.more { margin-top: 1.25rem; }
details.more > summary { color: var(--soft); padding-block: .4rem; }
details.more .plots { margin-top: 1rem; }
.drawn { min-width: 9rem; }
.drawn .range { width: 9.5rem; margin-top: .12rem; }
.group-row th { padding-top: 1.3rem; color: var(--accent); font-weight: 600; }
.formula { max-width: 24rem; }
.formula summary { list-style: none; text-decoration: underline dotted var(--soft); text-underline-offset: .25em; }
.formula summary::-webkit-details-marker { display: none; }
.formula p { color: var(--soft); font-size: .86rem; margin-top: .35rem; }
.key { display: inline-block; width: .65em; height: .65em; border-radius: 50%; vertical-align: baseline; }
.key.dot { background: var(--ink); }
.key.floor { border: 1.5px solid var(--soft); margin-left: 1rem; }
.errors .message { overflow-wrap: anywhere; min-width: 14rem; }
footer { margin-top: clamp(3.5rem, 8vw, 6rem); padding-block: clamp(2.5rem, 6vw, 4rem); border-top: 1px solid var(--line); max-width: none; background: var(--well); }
footer > * { max-width: 69rem; margin-inline: auto; }
pre { margin-block: 1.4rem; padding: 1.1rem 1.3rem; background: var(--card); border: 1px solid var(--line); border-radius: 12px; white-space: pre-wrap; font-size: .95rem; }
.listings { columns: 2 24rem; column-gap: 3rem; font-size: .88rem; margin-block: 1.5rem; }
.listing { margin-bottom: 1.8rem; }
.listing h3 { font-size: 1.1rem; margin-bottom: .5rem; break-after: avoid; }
.listing dl > div { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1.1fr); gap: 1rem; padding-block: .28rem; border-bottom: 1px solid var(--line); break-inside: avoid; }
.listing dt { color: var(--soft); }
.listing dt, .listing dd { overflow-wrap: anywhere; }
)css";

constexpr const char* kChains = R"css(
.chain { padding: 1rem 1.2rem; }
.chain .scroll { margin-top: 0; padding-bottom: .4rem; }
.links { display: grid; grid-auto-flow: column; grid-template-rows: repeat(3, auto); grid-auto-columns: minmax(5.4rem, 1fr); gap: .45rem .7rem; }
.links h5 { margin: 0; }
.links .words { font-size: .8rem; line-height: 1.3; min-width: 0; }
.i2t2i .links .words { align-self: end; }
.links .image { min-width: 0; }
.links .image img { width: 100%; border-radius: 8px; }
.chain .sample { padding-top: .2rem; }
)css";

constexpr const char* kNarrow = R"css(
@media screen and (max-width: 60rem) {
  .exhibit .stages { grid-template-columns: 1fr 1fr; }
  .exhibit .between { grid-column: 1 / -1; grid-row: 3; }
  .exhibit .start { grid-column: 1 / -1; display: grid; grid-template-columns: minmax(0, 11rem) 1fr; column-gap: 1.2rem; align-content: start; }
  .t2i2t .exhibit .start { grid-template-columns: 1fr; }
  .exhibit .start h5 { grid-column: 1 / -1; }
  .i2t2i .exhibit .start .image { grid-row: 2 / 4; }
  .between ol { grid-template-columns: repeat(auto-fill, minmax(3rem, 1fr)); }
}
@media screen and (max-width: 34rem) {
  .journey { padding-inline: 1.1rem; }
  .journey .stages { gap: .4rem; }
  .journey.i2t2i .stages { grid-template-columns: minmax(0, 1fr) 1.5rem minmax(0, 1.15fr) 1.5rem minmax(0, 1fr); }
  .journey.t2i2t .stages { grid-template-columns: 1fr; justify-items: center; gap: .8rem; }
  .journey.t2i2t .arc { transform: rotate(90deg); }
  .journey.t2i2t .image { width: 45%; }
  .ranks th, .ranks td { padding-right: .6rem; white-space: normal; }
  .between .saying { min-height: 0; }
  .journey .arc { width: 1.5rem; }
  .journey q { font-size: .95rem; }
  .exhibit .start { grid-template-columns: 7.5rem 1fr; }
  .listing dl > div { grid-template-columns: 1fr; gap: 0; }
}
@media print {
  :root { --paper: #fff; --card: #fff; --well: #fff; --ink: #000; --soft: #555; --line: #ccc; --shadow: none;
          --warm: #a8461f; --warm-tint: #fff; --cool: #16636e; --cool-tint: #fff; --right: #2c6b3f; --partly: #8a5800; --wrong: #a02b3c; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  nav, .skip { display: none; }
  body { font-size: 10pt; }
  .exhibit, .curve-card, .card, tr, .journey { break-inside: avoid; }
  .group, h2, h3 { break-after: avoid; }
  .words-of-all:not([open]), .saying { display: none; }
  .exhibit .stages { gap: 1rem; padding: 1rem; }
  .scroll { overflow: visible; }
}
)css";

constexpr const char* kScript = R"js(
// The words of a small picture appear under its row while it is pointed at.
for (const row of document.querySelectorAll(".between")) {
  const saying = row.appendChild(document.createElement("p"));
  saying.className = "saying soft";
  if (!document.querySelector(".saying.first")) {
    saying.classList.add("first");
    saying.textContent = "Point at one to read its words.";
  }
  for (const item of row.querySelectorAll("li")) {
    const say = () => { saying.textContent = item.dataset.says; };
    item.dataset.says = item.title;
    item.removeAttribute("title");
    item.tabIndex = 0;
    item.addEventListener("pointerenter", say);
    item.addEventListener("focus", say);
  }
}
// Paper cannot unfold.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details.more:not([open])")) {
    details.open = true;
    details.dataset.printed = "";
  }
});
addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-printed]")) {
    details.open = false;
    delete details.dataset.printed;
  }
});
)js";

}  // namespace

std::string style() {
  return std::string(kColors) + kType + kOpening + kCards + kGallery + kNumbers + kChains + kNarrow;
}

std::string script() { return kScript; }

}  // namespace readback::report
