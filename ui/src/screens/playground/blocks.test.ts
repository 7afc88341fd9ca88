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
