import type { HostProcess } from '@gantry/core/contracts/host-process.js';
import { messageOf } from '@gantry/core/contracts/errors.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';

/** What a service manager that started the daemon is told of it (systemd's `Type=notify-reload`). Nobody listens: nothing is said. */
export class ServiceManager {
  constructor(
    private readonly host: Pick<HostProcess, 'notifyService'>,
    private readonly log: Logger,
    private readonly address = process.env['NOTIFY_SOCKET'] ?? '',
  ) {}

  /** The API answers. */
  ready(): void {
    this.say('READY=1\nSTATUS=the API answers');
  }

  /** The configuration is read anew; `ready` says when that is over. */
  reloading(): void {
    this.say(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  }

  stopping(): void {
    this.say('STOPPING=1\nSTATUS=stopping; containers go on');
  }

  private say(state: string): void {
    if (this.address === '') return;
    try {
      this.host.notifyService(this.address, state);
    } catch (error) {
      this.log.warn('the service manager was not told', { address: this.address, error: messageOf(error) });
    }
  }
}
