import { decode, encode, type Packet } from 'dns-packet';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { failure, judge, type NameView } from './dns-answers.js';

const view: NameView = {
  addresses: (name) =>
    ({ web: ['10.213.1.2'], 'web.red': ['10.213.1.2'], many: Array.from({ length: 50 }, (_, i) => `10.213.1.${i}`) })[name.toLowerCase()],
  owner: (address) => (address === '10.213.1.2' ? 'web.red' : address.startsWith('10.213.1.') ? null : undefined),
};

const query = (name: string, type = 'A', own: Partial<Packet> = {}): Buffer =>
  encode({ type: 'query', id: 4711, flags: 0x0100, questions: [{ type: type as 'A', name }], ...own });

function answer(message: Buffer, transport: 'udp' | 'tcp' = 'udp'): Packet & { rcode: number } {
  const verdict = judge(message, view, transport);
  if (verdict.kind !== 'answer') throw new Error(verdict.kind);
  return { ...decode(verdict.bytes), rcode: verdict.bytes.readUInt8(3) & 0x0f };
}

describe('the embedded name server', () => {
  it('knows containers in any case, with and without the network, and says who asked', () => {
    for (const name of ['web', 'WEB', 'web.red', 'Web.']) {
      const { answers, id, rcode, questions } = answer(query(name));
      expect(id).toBe(4711);
      expect(rcode).toBe(0);
      expect(answers).toMatchObject([{ type: 'A', data: '10.213.1.2', ttl: 5 }]);
      expect(questions).toHaveLength(1);
    }
  });

  it('has no AAAA, MX or SRV of a name that it knows, and does not deny the name', () => {
    for (const type of ['AAAA', 'MX', 'SRV', 'TXT']) expect(answer(query('web', type))).toMatchObject({ rcode: 0, answers: [] });
  });

  it('keeps names without a dot to itself', () => {
    expect(answer(query('nobody'))).toMatchObject({ rcode: 3 });
    expect(judge(query('nobody.example'), view, 'udp').kind).toBe('forward');
  });

  it('answers the reverse of its own networks and hands on the others', () => {
    expect(answer(query('2.1.213.10.in-addr.arpa', 'PTR')).answers).toMatchObject([{ type: 'PTR', data: 'web.red' }]);
    expect(answer(query('9.1.213.10.in-addr.arpa', 'PTR')).rcode).toBe(3);
    expect(judge(query('8.8.8.8.in-addr.arpa', 'PTR'), view, 'udp').kind).toBe('forward');
  });

  it('cuts what does not fit in a datagram, says so, and has it whole by TCP', () => {
    const short = judge(query('many'), view, 'udp');
    expect(short.kind === 'answer' && short.bytes.length).toBeLessThanOrEqual(512);
    expect(short.kind === 'answer' && (short.bytes.readUInt8(2) & 0x02) !== 0).toBe(true);
    const edns = query('many', 'A', { additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 4096, flags: 0 } as never] });
    const larger = answer(edns);
    expect(larger.answers).toHaveLength(50);
    expect(larger.additionals).toMatchObject([{ type: 'OPT', udpPayloadSize: 1232 }]);
    expect(answer(query('many'), 'tcp').answers).toHaveLength(50);
  });

  it('refuses other classes, operations and numbers of questions', () => {
    const status = query('web');
    status.writeUInt8(0x10, 2);
    expect(answer(status).rcode).toBe(4);
    expect(answer(query('web', 'A', { questions: [{ type: 'A', class: 'CH', name: 'web' }] })).rcode).toBe(5);
    expect(answer(query('web', 'A', { questions: [] })).rcode).toBe(1);
  });

  it('does not answer answers, and never throws, whatever the bytes', () => {
    const response = query('web');
    response.writeUInt8(0x81, 2);
    expect(judge(response, view, 'udp').kind).toBe('drop');
    const good = query('web.red');
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 600 }),
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }),
        (noise, changes) => {
          const bent = Buffer.from(good);
          for (const [at, byte] of changes) bent[at] = byte;
          for (const message of [Buffer.from(noise), bent]) {
            const verdict = judge(message, view, 'udp');
            if (verdict.kind === 'answer') {
              expect(verdict.bytes.length).toBeGreaterThanOrEqual(12);
              expect(verdict.bytes.readUInt16BE(0)).toBe(message.readUInt16BE(0));
            }
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('can say that it failed of a query that it cannot read', () => {
    const bytes = failure(Buffer.from('12340100000100000000000007', 'hex'), 2);
    expect(bytes.toString('hex')).toBe('123481820000000000000000');
  });
});
