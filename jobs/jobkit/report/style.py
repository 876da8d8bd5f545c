"""The style of report.html: light and dark, wide and narrow, screen and paper; nothing is loaded from elsewhere."""

STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#566270;--line:#d5dbe2;--paper:#fff;--panel:#f4f6f8;
--one:#0b62c4;--two:#a13f00;--three:#6a3fb5;--good:22 128 60;--bad:200 40 32}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaef;--soft:#a8b3bf;--line:#39434f;--paper:#12171d;--panel:#1d242c;
--one:#79b8ff;--two:#ffab70;--three:#c8a6ff;--good:60 180 100;--bad:255 105 95}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:var(--ink);
background:var(--paper)}
h1{font-size:1.6rem;line-height:1.25;margin-bottom:.4rem}
h2{font-size:1.25rem;margin:2.6rem 0 .6rem;padding-top:.4rem;border-top:2px solid var(--line)}
h3{font-size:1.02rem;margin:1.6rem 0 .3rem}
p{max-width:46rem}a{color:var(--one)}:focus-visible{outline:3px solid var(--one);outline-offset:2px}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;padding:0;margin:.8rem 0}
.scroll{overflow-x:auto;max-width:100%;min-width:0}
table{border-collapse:collapse;margin:.6rem 0}
caption{text-align:left;color:var(--soft);padding-bottom:.3rem}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
thead th{font-weight:600;background:var(--panel);vertical-align:bottom}tbody th{font-weight:400}
th:first-child,td:first-child{text-align:left}tr.total th,tr.total td{font-weight:600}
tbody th{overflow-wrap:break-word;max-width:24rem}td.text{overflow-wrap:anywhere;max-width:44rem}
thead th.text,td.text{text-align:left}
.note{color:var(--soft)}
td.good{background:rgb(var(--good) / var(--share,.25));font-weight:700}
td.bad{background:rgb(var(--bad) / var(--share,.2))}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.8rem;padding:0;margin:1rem 0;
list-style:none}
.cards li{background:var(--panel);border:1px solid var(--line);border-radius:.5rem;padding:.7rem .9rem}
.cards b{display:block;font-size:1.7rem;line-height:1.2}.cards span{display:block;color:var(--soft)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:1rem}
figure{margin:0}figcaption{color:var(--soft)}
svg{max-width:100%;height:auto}svg.chart{width:100%;max-width:30rem;background:var(--panel);border-radius:.5rem}
svg.chart text{font:11px system-ui,sans-serif;fill:var(--ink)}
svg.chart text.word{font-weight:600;paint-order:stroke;stroke:var(--panel);stroke-width:5px}
.grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}
.series{fill:none;stroke-width:2}.s0{stroke:var(--one)}.s1{stroke:var(--two);stroke-dasharray:7 3}
.s2{stroke:var(--three);stroke-dasharray:2 3}.ideal{stroke:var(--soft);stroke-width:1;stroke-dasharray:4 4}
.mark{fill:var(--paper);stroke:var(--ink);stroke-width:2}.bar{fill:var(--one);fill-opacity:.45;stroke:var(--one)}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:.8rem;padding:0;
list-style:none}
.gallery li{border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem;display:flex;gap:.8rem;min-width:0}
.gallery img{width:96px;height:96px;object-fit:contain;background:var(--panel);flex:none}
.gallery li{flex-wrap:wrap;align-content:flex-start}
.gallery div{min-width:0;max-width:100%;flex:1 1 8rem;overflow-wrap:anywhere}
.gallery .scroll{overflow-wrap:normal}.gallery p{margin:.1rem 0}.gallery code{font-size:.8rem}
.gallery .marked{white-space:pre-wrap;line-height:1.9}.gallery details{flex:none}
mark{color:#1c2430;padding:0 .15rem;border-radius:.2rem}
mark sub{font-size:.75rem;line-height:1;margin-left:.2rem;white-space:nowrap}
mark.right{background:#d9f2df;border-bottom:2px solid #1a7f37}
mark.wrong{background:#fbe0dd;border-bottom:2px dotted #cf222e}
mark.missed{background:#fff1c9;border-bottom:2px dashed #6b4e00}
svg.boxes{background:var(--panel);border:1px solid var(--line);max-height:14rem;flex:none}
svg.boxes rect{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}
summary{cursor:pointer;color:var(--soft)}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media (max-width:40rem){body{margin:1rem auto}th,td{padding:.25rem .4rem}}
@media print{:root{color-scheme:light;--ink:#000;--soft:#444;--line:#bbb;--paper:#fff;--panel:#fff;--one:#0b62c4;
--two:#a13f00;--three:#6a3fb5;--good:22 128 60;--bad:200 40 32}
body{max-width:none;margin:0;font-size:10pt}nav{display:none}.scroll{overflow:visible}
details::details-content{content-visibility:visible;block-size:auto}
figure,.gallery li,.cards li,tr{break-inside:avoid}h2,h3,caption{break-after:avoid}}
"""
