/** The style of `/docs`: one column on a phone, an index beside it where there is room, light or dark as the system. */
export const DOCS_STYLE = `
:root {
  color-scheme: light dark;
  --back: #fff; --raised: #f4f5f7; --line: #d5d8de; --text: #1b1e24; --soft: #565d6b; --link: #0b57c4;
  --get: #0b57c4; --post: #14693a; --patch: #8a4b00; --put: #6b3fb5; --delete: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #14161a; --raised: #1e2127; --line: #383d47; --text: #e6e8ec; --soft: #a4abb8; --link: #8ab8ff;
    --get: #8ab8ff; --post: #7ed6a0; --patch: #f0b765; --put: #c9a8ff; --delete: #ff9a91;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body {
  margin: 0 auto; padding: 1rem; max-width: 80rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
code { font: 0.9em/1.4 ui-monospace, monospace; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
main:focus { outline: none; }
.skip { position: absolute; left: -100vw; }
.skip:focus { position: static; }
h1, h2, h3, h4 { line-height: 1.25; }
h1 { margin: 0.5rem 0; }
h2 { margin: 2.5rem 0 1rem; text-transform: capitalize; }
h3 { margin: 0 0 0.25rem; }
h3 a { color: inherit; text-decoration: none; }
h3 a:hover { text-decoration: underline; }
h4 { margin: 1rem 0 0.25rem; }
.version { color: var(--soft); font-size: 1rem; font-weight: normal; }
.note { color: var(--soft); }
article { margin: 0 0 1rem; padding: 1rem; border: 1px solid var(--line); border-radius: 0.5rem; }
article p { margin: 0.25rem 0; }
.method { font: bold 0.8em/1.4 ui-monospace, monospace; color: var(--text); }
.get { color: var(--get); } .post { color: var(--post); } .patch { color: var(--patch); }
.put { color: var(--put); } .delete { color: var(--delete); }
.fields { margin: 0; padding: 0; list-style: none; }
.fields li { padding: 0.3rem 0; border-top: 1px solid var(--line); }
.fields .fields { margin: 0.3rem 0 0 0.25rem; padding-left: 0.75rem; border-left: 3px solid var(--line); }
.fields .note::before { content: "· "; }
.name { font-weight: bold; }
details { margin-top: 1rem; }
summary { cursor: pointer; color: var(--soft); }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0.25rem 1rem; margin: 0.5rem 0; }
dt { font-weight: bold; }
dd { margin: 0; }
nav { padding: 1rem; background: var(--raised); border-radius: 0.5rem; }
nav label { font-weight: bold; }
nav ul { margin: 0; padding: 0; list-style: none; }
nav ul ul { display: none; }
nav li a { display: block; padding: 0.25rem 0; text-decoration: none; }
nav li a:hover { text-decoration: underline; }
nav ul ul a { font-size: 0.875rem; line-height: 1.35; }
.tag { font-weight: bold; text-transform: capitalize; }
.search { display: flex; gap: 0.5rem; margin: 0.25rem 0 1rem; }
input, button { font: inherit; padding: 0.4rem 0.6rem; border: 1px solid var(--soft); border-radius: 0.25rem; }
input { flex: 1; min-width: 0; background: var(--back); color: var(--text); }
button { background: var(--raised); color: var(--text); cursor: pointer; }
header { max-width: 50rem; }
@media (min-width: 60rem) {
  body { display: grid; grid-template-columns: 21rem 1fr; column-gap: 2rem; align-items: start; }
  .skip, header { grid-column: 1 / -1; }
  nav { position: sticky; top: 1rem; max-height: calc(100vh - 2rem); overflow-y: auto; }
  nav ul ul { display: block; margin-bottom: 0.75rem; }
  main > section:first-child > h2 { margin-top: 0; }
}
`;
