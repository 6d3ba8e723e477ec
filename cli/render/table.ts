/**
 * Lines with tabs, aligned the way Docker's clients align them. A column is a run of neighbouring lines that have a tab
 * after the cell; the last cell of a line belongs to no column and gets no padding.
 */
export interface Layout {
  minimum: number;
  padding: number;
}

export const listLayout: Layout = { minimum: 10, padding: 3 };

export const align = (text: string, layout: Layout = listLayout): string => {
  const lines = text.split('\n').map((line) => line.split('\t'));
  const widths: number[][] = lines.map(() => []);

  const measure = (from: number, to: number, column: number): void => {
    for (let at = from; at < to; at++) {
      if (column >= (lines[at] as string[]).length - 1) continue;
      let end = at;
      let width = layout.minimum;
      for (; end < to && column < (lines[end] as string[]).length - 1; end++) {
        width = Math.max(width, columns((lines[end] as string[])[column] as string) + layout.padding);
      }
      for (let line = at; line < end; line++) (widths[line] as number[])[column] = width;
      measure(at, end, column + 1);
      at = end - 1;
    }
  };
  measure(0, lines.length, 0);

  return lines
    .map((cells, line) =>
      cells
        .map((cell, column) => (column === cells.length - 1 ? cell : cell + ' '.repeat((widths[line]?.[column] as number) - columns(cell))))
        .join(''),
    )
    .join('\n');
};

const columns = (text: string): number => {
  let count = 0;
  for (const _ of text) count++;
  return count;
};
