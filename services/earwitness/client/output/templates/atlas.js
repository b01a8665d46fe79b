"use strict";
// The grid: find, filter and sort cards, and play one sound at a time. All of it is in the page: nothing is fetched.
const grid = document.getElementById("grid");
const cards = [...grid.children];
const find = document.getElementById("find");
const layer = document.getElementById("layer");
const sort = document.getElementById("sort");
const count = document.getElementById("count");
const comparisons = {
  place: (a, b) => a.dataset.place - b.dataset.place,
  score: (a, b) => a.dataset.score - b.dataset.score || a.dataset.place - b.dataset.place,
  selectivity: (a, b) => b.dataset.selectivity - a.dataset.selectivity || a.dataset.place - b.dataset.place,
  order: (a, b) => (a.dataset.layer === b.dataset.layer ? 0 : layers.indexOf(a.dataset.layer) - layers.indexOf(b.dataset.layer))
    || (a.dataset.name < b.dataset.name ? -1 : 1),
};
const layers = [...layer.options].map(each => each.value);

function show() {
  const wanted = find.value.trim().toLowerCase();
  // `cluster 3` is not `cluster 30`: what ends in a figure ends there in the card, too.
  const pattern = wanted && new RegExp(wanted.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") + (/\d$/.test(wanted) ? "(?!\\d)" : ""));
  let shown = 0;
  for (const card of cards) {
    card.hidden = (layer.value && card.dataset.layer !== layer.value) || (pattern && !pattern.test(card.dataset.words));
    shown += !card.hidden;
  }
  count.value = `${shown} of ${cards.length} units`;
}

function order() {
  grid.append(...cards.sort(comparisons[sort.value]));
}

const player = new Audio();
let playing = null;
player.addEventListener("ended", () => stop());
function stop() {
  if (playing) playing.classList.remove("playing");
  playing = null;
}
grid.addEventListener("click", event => {
  const button = event.target.closest("button[data-sound]");
  if (!button) return;
  const again = button === playing;
  player.pause();
  stop();
  if (again) return;
  playing = button;
  button.classList.add("playing");
  player.src = button.dataset.sound;
  player.play().catch(stop);
});
document.getElementById("controls").addEventListener("submit", event => event.preventDefault());
find.addEventListener("input", show);
layer.addEventListener("change", show);
sort.addEventListener("change", order);
