import { BaseCommand, print, SeveralErrors, warn } from '../../base-command.js';
import { ApiError, path } from '../../client/client.js';
import { flag } from '../../flags.js';

export default class Rm extends BaseCommand {
  static override usage = 'IMAGE [IMAGE...]';
  static override arity = { least: 1 };
  static override flags = {
    force: flag.boolean({ char: 'f', description: 'Remove it in spite of what uses it' }),
    'no-prune': flag.boolean({ description: 'Keep parents without a name' }),
    platform: flag.list({ description: 'Remove only this platform of the image', kind: 'strings' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Rm);
    const failures: string[] = [];
    let fatal = false;
    for (const name of args) {
      try {
        const removed = await this.client.delete<{ Untagged?: string; Deleted?: string }[]>(path`/images/${name}`, {
          force: flags.force || undefined,
          noprune: flags['no-prune'] || undefined,
          platforms: flags.platform.map((text) => JSON.stringify(platformObject(text))),
        });
        for (const each of removed) print(each.Deleted ? `Deleted: ${each.Deleted}` : `Untagged: ${each.Untagged}`);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.status !== 404) fatal = true;
        failures.push(error.message);
      }
    }
    if (failures.length === 0) return;
    // With --force, being gone is the wish fulfilled.
    if (!flags.force || fatal) throw new SeveralErrors(failures);
    for (const failure of failures) warn(failure);
  }
}

/** `linux/arm64/v8` in the form in which the API takes it here. */
export const platformObject = (text: string): { os: string; architecture?: string; variant?: string } => {
  const [os, architecture, variant] = text.split('/') as [string, string?, string?];
  return { os, ...(architecture ? { architecture } : {}), ...(variant ? { variant } : {}) };
};
