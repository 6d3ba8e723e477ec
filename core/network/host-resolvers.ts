import { readFileSync, statSync } from 'node:fs';
import { isLoopback, parseResolvConf, type ResolvConf } from './resolv-conf.js';

const HOST_FILE = '/etc/resolv.conf';
/** Where systemd-resolved keeps the servers that it asks itself, behind the 127.0.0.53 that the host's own file names. */
const SYSTEMD_FILE = '/run/systemd/resolve/resolv.conf';

/** The host's name servers, read again when the files change. */
export class HostResolvers {
  private readonly cache = new Map<string, { stamp: string; conf: ResolvConf }>();

  /** What the host itself asks; loopback servers included, which only the host's namespace reaches. */
  host(): ResolvConf {
    return this.read(HOST_FILE);
  }

  /**
   * What a container can ask by itself: the host's servers without those on its loopback. Nothing is put in the place of
   * a list that becomes empty: a public server would tell strangers the names that the host's owner keeps at home.
   */
  reachable(): ResolvConf {
    const conf = this.host();
    const servers = conf.servers.filter((server) => !isLoopback(server));
    if (servers.length > 0 || conf.servers.length === 0) return { ...conf, servers };
    const real = this.read(SYSTEMD_FILE);
    return { servers: real.servers.filter((server) => !isLoopback(server)), search: conf.search, options: conf.options };
  }

  private read(path: string): ResolvConf {
    try {
      const { mtimeMs, size, ino } = statSync(path);
      const stamp = `${ino}/${size}/${mtimeMs}`;
      const known = this.cache.get(path);
      if (known?.stamp === stamp) return known.conf;
      const conf = parseResolvConf(readFileSync(path, 'utf8'));
      this.cache.set(path, { stamp, conf });
      return conf;
    } catch {
      return { servers: [], search: [], options: [] };
    }
  }
}
