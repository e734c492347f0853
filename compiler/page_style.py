"""The style sheet of the report's page: light, and dark where the reader's system is."""

STYLE = """
:root { color-scheme: light dark; --back: #fdfdfc; --text: #1d2329; --soft: #5d6873;
  --line: #d8dde2; --card: #f1f3f5; --accent: #2b6cb0; --warm: #fff3dc; --edge: #8b97a3; }
@media (prefers-color-scheme: dark) { :root { --back: #14181c; --text: #e4e8ec; --soft: #9aa6b2;
  --line: #333c45; --card: #1e252b; --accent: #63a4e8; --warm: #3a3120; --edge: #6c7884; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 92rem; padding: 1.5rem; background: var(--back);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 1rem; } h2 { margin: 2rem 0 .6rem; font-size: 1.15rem; }
code { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.cards { display: flex; flex-wrap: wrap; gap: .6rem; }
.cards div { background: var(--card); border-radius: 8px; padding: .5rem .9rem;
  color: var(--soft); font-size: .85rem; }
.cards b { display: block; color: var(--text); font-size: 1.05rem; }
.wide { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; font-size: .9rem; }
th { text-align: left; color: var(--soft); font-weight: 600; }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
ul { margin: .2rem 0; padding-left: 1.1rem; }
.bar rect { fill: var(--accent); }
.graphs { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
figure { margin: 0; overflow-x: auto; } figcaption { color: var(--soft); margin-bottom: .4rem; }
.graph { max-width: 100%; height: auto; }
.graph rect { fill: var(--card); stroke: var(--line); }
.graph rect.weighted { fill: var(--warm); }
.graph rect.outside { fill: none; stroke-dasharray: 4 3; }
.graph .edge { fill: none; stroke: var(--edge); stroke-width: 1.3; }
.graph text { fill: var(--text); text-anchor: middle; font: 11px ui-monospace, monospace; }
.graph .name { font-weight: 700; } .graph .type { fill: var(--soft); }
"""
