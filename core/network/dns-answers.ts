import { AUTHORITATIVE_ANSWER, decode, encode, type Packet, RECURSION_AVAILABLE, RECURSION_DESIRED, TRUNCATED_RESPONSE } from 'dns-packet';

/** What a sandbox may know of the containers around it. */
export interface NameView {
  /** IPv4 addresses of a name without trailing dot; undefined when nobody has it. */
  addresses(name: string): readonly string[] | undefined;
  /** Name of whoever has an address; undefined when nobody, null when the address belongs to a network of the sandbox and is free. */
  owner(address: string): string | undefined | null;
}

/** An answer to send, a query to hand on, or nothing to do for bytes that are no query. */
export type Verdict = { readonly kind: 'answer'; readonly bytes: Buffer } | { readonly kind: 'forward' } | { readonly kind: 'drop' };

/**
 * Docker says 600 seconds. A container's address changes when it is made anew, and no server can call back what a
 * client keeps; asking again costs some 100 µs and never leaves the machine.
 */
const TTL_SECONDS = 5;

const HEADER_SIZE = 12;
const PLAIN_UDP_SIZE = 512;
/** What we say that we take; also the most that we send by UDP, since larger answers fragment on the wire. */
const EDNS_SIZE = 1232;

export const Rcode = { formatError: 1, serverFailure: 2, noSuchName: 3, notImplemented: 4, refused: 5 } as const;

/** Decides on one message. `limit`: most bytes of the answer, 0 where the transport has none (TCP). */
export function judge(message: Buffer, view: NameView, transport: 'udp' | 'tcp'): Verdict {
  if (message.length < HEADER_SIZE || (message.readUInt8(2) & 0x80) !== 0) return { kind: 'drop' };
  if ((message.readUInt8(2) & 0x78) !== 0) return { kind: 'answer', bytes: failure(message, Rcode.notImplemented) };
  if (message.readUInt16BE(4) !== 1) return { kind: 'answer', bytes: failure(message, Rcode.formatError) };
  let query: Packet;
  try {
    query = decode(message);
  } catch {
    return { kind: 'answer', bytes: failure(message, Rcode.formatError) };
  }
  const question = query.questions?.[0];
  if (!question) return { kind: 'answer', bytes: failure(message, Rcode.formatError) };
  if (question.class !== undefined && question.class !== 'IN') return { kind: 'answer', bytes: failure(message, Rcode.refused) };
  const name = question.name.replace(/\.$/, '');
  const answer = (rcode: number, records: NonNullable<Packet['answers']>): Verdict => ({
    kind: 'answer',
    bytes: encodeAnswer(query, rcode, records, transport),
  });

  const reversed = reversedAddress(name);
  if (reversed !== undefined) {
    const owner = view.owner(reversed);
    if (owner === undefined) return { kind: 'forward' };
    if (owner === null) return answer(Rcode.noSuchName, []);
    return answer(0, question.type === 'PTR' ? [{ type: 'PTR', name: question.name, ttl: TTL_SECONDS, data: owner }] : []);
  }
  const addresses = view.addresses(name);
  if (addresses === undefined) {
    // A name without a dot is a container's or nobody's; the world outside must not learn of it.
    return name.includes('.') ? { kind: 'forward' } : answer(name === '' ? Rcode.refused : Rcode.noSuchName, []);
  }
  // No AAAA of a known name is "no such record", never "no such name": resolvers give up on the latter without trying A.
  if (!['A', 'ANY'].includes(question.type)) return answer(0, []);
  return answer(
    0,
    addresses.map((data) => ({ type: 'A', name: question.name, ttl: TTL_SECONDS, data })),
  );
}

/** An answer that only says what went wrong. Works on bytes: the query may not be decodable. */
export function failure(message: Buffer, rcode: number): Buffer {
  const end = questionEnd(message);
  const bytes = Buffer.from(message.subarray(0, end ?? HEADER_SIZE));
  bytes.writeUInt8((message.readUInt8(2) & 0x79) | 0x80, 2);
  bytes.writeUInt8(0x80 | rcode, 3);
  bytes.writeUInt16BE(end === undefined ? 0 : 1, 4);
  bytes.fill(0, 6, HEADER_SIZE);
  return bytes;
}

/** Where the one question ends, or undefined when there is not exactly one whole question. */
export function questionEnd(message: Buffer): number | undefined {
  if (message.length < HEADER_SIZE || message.readUInt16BE(4) !== 1) return undefined;
  let at = HEADER_SIZE;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > 63) return undefined;
    at += length + 1;
    if (length === 0) break;
  }
  return at + 4 <= message.length ? at + 4 : undefined;
}

function encodeAnswer(query: Packet, rcode: number, records: NonNullable<Packet['answers']>, transport: 'udp' | 'tcp'): Buffer {
  const edns = query.additionals?.find((record) => record.type === 'OPT');
  const limit = transport === 'tcp' ? 65_535 : edns ? Math.max(PLAIN_UDP_SIZE, Math.min(EDNS_SIZE, edns.udpPayloadSize)) : PLAIN_UDP_SIZE;
  const flags = (query.flags ?? 0) & RECURSION_DESIRED;
  const make = (answers: NonNullable<Packet['answers']>, more: number): Buffer =>
    encode({
      type: 'response',
      ...(query.id !== undefined && { id: query.id }),
      flags: flags | RECURSION_AVAILABLE | AUTHORITATIVE_ANSWER | rcode | more,
      questions: query.questions ?? [],
      answers,
      additionals: edns
        ? [{ type: 'OPT', name: '.', udpPayloadSize: EDNS_SIZE, flags: 0, extendedRcode: 0, ednsVersion: 0, options: [] } as never]
        : [],
    });
  const whole = make(records, 0);
  return whole.length <= limit ? whole : make([], TRUNCATED_RESPONSE);
}

/** The address in `4.3.2.1.in-addr.arpa`. */
function reversedAddress(name: string): string | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/i.exec(name);
  return match ? match.slice(1).toReversed().map(Number).join('.') : undefined;
}
