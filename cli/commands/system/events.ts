import { BaseCommand } from '../../base-command.js';
import { filterQuery } from '../../client/client.js';
import { documents, put } from '../../client/stream.js';
import { flag } from '../../flags.js';
import { printable } from '../../render/quote.js';
import { renderOne } from '../../render/one.js';
import { timestamp } from '../../render/timestamp.js';
import { rfc3339NanoLocal } from '../../render/units.js';

interface EventMessage {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> | null };
  time: number;
  timeNano?: number | bigint;
}

export default class Events extends BaseCommand {
  static override flags = {
    filter: flag.filter({ char: 'f', description: 'Show only what meets a condition' }),
    format: flag.string({ description: "'json', or a Go template for each line" }),
    since: flag.string({ description: 'Begin at a time or an age' }),
    until: flag.string({ description: 'End at a time or an age' }),
  };

  async run(): Promise<void> {
    const { flags } = this.read(Events);
    const response = await this.client.open('GET', '/events', {
      query: {
        since: flags.since ? timestamp(flags.since) : undefined,
        until: flags.until ? timestamp(flags.until) : undefined,
        filters: filterQuery(flags.filter),
      },
    });
    const clean = process.stdout.isTTY ? printable : (text: string): string => text;
    for await (const event of documents<EventMessage>(response.body)) {
      const line = flags.format === '' ? `${plain(event)}\n` : renderOne(event, flags.format);
      await put(process.stdout, Buffer.from(clean(line)));
    }
  }
}

const plain = (event: EventMessage): string => {
  const at = event.timeNano ? BigInt(event.timeNano) : BigInt(event.time) * 1_000_000_000n;
  const attributes = Object.entries(event.Actor.Attributes ?? {})
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`);
  return `${rfc3339NanoLocal(at)} ${event.Type} ${event.Action} ${event.Actor.ID}${attributes.length > 0 ? ` (${attributes.join(', ')})` : ''}`;
};
