import { expect, test } from "vitest";
import { Blocks, marked } from "./blocks";

const TEXT = `# Title

A paragraph with **bold** text,
and a second line.

- one
- two

  still two
- three

1. first

\`\`\`python
def f():

    return 1
\`\`\`

> quoted
> more

| a | b |
| - | - |
| 1 | 2 |

Heading
=======

The end.`;

test("read in pieces of any size, it is what it is as a whole", () => {
  const whole = marked.parse(TEXT);
  for (const size of [1, 2, 3, 7, 50]) {
    const blocks = new Blocks();
    let shown = blocks.of("");
    for (let at = size; at < TEXT.length + size; at += size) shown = blocks.of(TEXT.slice(0, at));
    expect(shown.map((block) => marked.parser([block])).join("")).toBe(whole);
  }
});

test("blocks before the last are the same objects: they are drawn once", () => {
  const blocks = new Blocks();
  const before = blocks.of("one\n\ntwo\n\nthree");
  const after = blocks.of("one\n\ntwo\n\nthree and more\n\nfour");
  expect(after).toHaveLength(4);
  expect(after[0]).toBe(before[0]);
  expect(after[1]).toBe(before[1]);
});

test("a shorter text is another text", () => {
  const blocks = new Blocks();
  blocks.of("one\n\ntwo\n\nthree");
  expect(blocks.of("x").map((block) => block.raw)).toEqual(["x"]);
});

test("markup is text, images are links, headings stand below those of the page", () => {
  expect(marked.parse("<b>x</b>\n\n# one\n\n##### five\n\n![a\"](http://x/y)\n\n- [x] done")).toBe(
    '<p>&#60;b&#62;x&#60;/b&#62;</p>\n<h4>one</h4><h6>five</h6><p><a href="http://x/y">a&#34;</a></p>\n<ul>\n<li>☑ done</li>\n</ul>\n',
  );
});

test.each([
  ["\\(x_1 * y_1 * z\\)", "<code>\\(x_1 * y_1 * z\\)</code>"],
  ["$\\frac{a}{b}$, and then", "<code>$\\frac{a}{b}$</code>, and then"],
  ["$$a *b* c$$ in a line", "<code>$$a *b* c$$</code> in a line"],
  ["from $5 to $10, *all* of it", "from $5 to $10, <em>all</em> of it"],
  ["$HOME and $PATH_2", "$HOME and $PATH_2"],
  ["`$x$` and \\*no\\*", "<code>$x$</code> and *no*"],
])("the formula of %s stays as it is written", (text, html) => {
  expect(marked.parse(text)).toBe(`<p>${html}</p>\n`);
});

test("a formula with lines of its own is a block, once it is whole", () => {
  const said = "So:\n\\[\n  a^2 \\\\ b_1 * c_1\n\\]\nand\n$$\nx\n$$\n\nend";
  expect(new Blocks().of(said).map(({ type, ...rest }) => [type, "text" in rest ? rest.text : ""])).toEqual([
    ["paragraph", "So:"],
    ["code", "  a^2 \\\\ b_1 * c_1"],
    ["paragraph", "and"],
    ["code", "x"],
    ["paragraph", "end"],
  ]);
  expect(new Blocks().of("\\[\n  a^2").map((each) => each.type)).toEqual(["paragraph"]);
});
