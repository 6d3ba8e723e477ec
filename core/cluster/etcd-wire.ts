/** The parts of etcd's JSON that are used. Numbers of 64 bits are text, keys and values base64, and what is zero is left out. */
export interface EtcdHeader {
  readonly revision?: string;
}

export interface EtcdEntry {
  readonly key: string;
  readonly value?: string;
  readonly create_revision?: string;
  readonly mod_revision?: string;
  readonly lease?: string;
}

export interface RangeAnswer {
  readonly header?: EtcdHeader;
  readonly kvs?: readonly EtcdEntry[];
  readonly more?: boolean;
  /** Of all keys in the range, whatever the limit. */
  readonly count?: string;
}

export interface LeaseAnswer {
  readonly header?: EtcdHeader;
  readonly ID: string;
  /** Seconds; 0 when there is no such lease. */
  readonly TTL?: string;
}

export interface TxnAnswer {
  readonly succeeded?: boolean;
  readonly responses?: readonly { readonly response_range?: RangeAnswer }[];
}

export interface WatchAnswer {
  readonly result?: {
    readonly header?: EtcdHeader;
    readonly created?: boolean;
    readonly canceled?: boolean;
    readonly compact_revision?: string;
    readonly cancel_reason?: string;
    readonly events?: readonly { readonly type?: 'DELETE'; readonly kv: EtcdEntry }[];
  };
  readonly error?: { readonly message?: string };
}

export type Compare = Readonly<Record<string, unknown>>;
export type RequestOp = Readonly<Record<string, unknown>>;

export const encode = (text: string): string => Buffer.from(text).toString('base64');
export const decode = (text: string | undefined): string => Buffer.from(text ?? '', 'base64').toString();

/** All keys that begin with `prefix`. */
export const range = (prefix: string): { key: string; range_end: string } => {
  const end = Buffer.from(prefix);
  end.writeUInt8(end.readUInt8(end.length - 1) + 1, end.length - 1);
  return { key: encode(prefix), range_end: end.toString('base64') };
};

export const absent = (key: string): Compare => ({ key: encode(key), target: 'CREATE', result: 'EQUAL', create_revision: '0' });
export const present = (key: string): Compare => ({ key: encode(key), target: 'CREATE', result: 'GREATER', create_revision: '0' });
export const empty = (prefix: string): Compare => ({ ...range(prefix), target: 'CREATE', result: 'EQUAL', create_revision: '0' });
export const unchanged = (key: string, revision: string): Compare => ({
  key: encode(key),
  target: 'MOD',
  result: 'EQUAL',
  mod_revision: revision,
});
export const leasedBy = (key: string, lease: string): Compare => ({ key: encode(key), target: 'LEASE', result: 'EQUAL', lease });

export const put = (key: string, value: string, lease?: string): RequestOp => ({
  request_put: { key: encode(key), value: encode(value), ...(lease !== undefined && { lease }) },
});
export const remove = (key: string): RequestOp => ({ request_delete_range: { key: encode(key) } });
export const removeAll = (prefix: string): RequestOp => ({ request_delete_range: range(prefix) });
export const read = (key: string): RequestOp => ({ request_range: { key: encode(key) } });
