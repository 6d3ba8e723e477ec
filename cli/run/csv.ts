/** The fields of one line of comma-separated values; a quoted field may hold commas and doubled quotes. */
export const csvFields = (text: string): string[] => {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    if (text[at] === '"') {
      let field = '';
      at++;
      for (;;) {
        const quote = text.indexOf('"', at);
        if (quote < 0) throw new Error('parse error on line 1, column ' + (text.length + 1) + ': extraneous or missing " in quoted-field');
        field += text.slice(at, quote);
        at = quote + 1;
        if (text[at] !== '"') break;
        field += '"';
        at++;
      }
      if (at < text.length && text[at] !== ',')
        throw new Error(`parse error on line 1, column ${at + 1}: extraneous or missing " in quoted-field`);
      fields.push(field);
    } else {
      const comma = text.indexOf(',', at);
      const field = text.slice(at, comma < 0 ? undefined : comma);
      const quote = field.indexOf('"');
      if (quote >= 0) throw new Error(`parse error on line 1, column ${at + quote + 1}: bare " in non-quoted-field`);
      fields.push(field);
      at = comma < 0 ? text.length : comma;
    }
    if (at >= text.length) return fields;
    at++;
  }
};
