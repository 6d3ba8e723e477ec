export interface TrialImage {
  readonly tar: Buffer;
  readonly layer: Buffer;
  readonly config: Buffer;
  readonly manifest: Buffer;
  readonly digest: string;
  readonly id: string;
}
export interface TrialRegistry {
  readonly address: string;
  push(name: string, tag: string, image: TrialImage): Promise<string>;
  stop(): Promise<void>;
}
export function makeRootfs(folder: string): void;
export function makeImage(options?: {
  env?: readonly string[];
  cmd?: readonly string[];
  config?: Readonly<Record<string, unknown>>;
  extend?: (rootfs: string) => void;
}): Promise<TrialImage>;
export function startRegistry(): Promise<TrialRegistry>;
