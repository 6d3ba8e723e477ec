import { makeImage, startRegistry, type TrialRegistry } from '../../cli/setup/trial-image.mjs';
import { Engine } from './engine.js';

/** An engine, a registry and a pulled image: what most suites begin with. */
export interface Trial {
  readonly engine: Engine;
  readonly registry: TrialRegistry;
  /** `127.0.0.1:port/trial/busybox:latest`. */
  readonly image: string;
  close(): Promise<Awaited<ReturnType<Engine['stop']>>>;
}

export async function openTrial(flags: readonly string[] = []): Promise<Trial> {
  const registry = await startRegistry();
  try {
    const image = await registry.push('trial/busybox', 'latest', await makeImage());
    const engine = await Engine.start(flags);
    const pulled = engine.docker(['pull', '-q', image]);
    if (pulled.code !== 0) {
      await engine.stop();
      throw new Error(`pull failed: ${pulled.stderr}\n${engine.log.slice(-2000)}`);
    }
    return {
      engine,
      registry,
      image,
      async close() {
        const left = await engine.stop();
        await registry.stop();
        return left;
      },
    };
  } catch (error) {
    await registry.stop();
    throw error;
  }
}
