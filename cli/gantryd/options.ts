/** One setting of the daemon: a flag and a key of daemon.json, with dockerd's names and meaning. */
export interface Option {
  /** daemon.json's name. */
  readonly key: string;
  readonly flag: string;
  readonly short?: string;
  readonly type: 'string' | 'boolean' | 'number' | 'list' | 'map';
  readonly help: string;
}

const option = (key: string, type: Option['type'], help: string, extra: { flag?: string; short?: string } = {}): Option => ({
  key,
  flag: extra.flag ?? key,
  type,
  help,
  ...(extra.short === undefined ? {} : { short: extra.short }),
});

/** Every setting there is; what is not here is an error, never ignored. */
export const options: readonly Option[] = [
  option('hosts', 'list', 'daemon socket to listen on (unix://, tcp://, fd://)', { flag: 'host', short: 'H' }),
  option('group', 'string', 'group that owns the unix socket'),
  option('data-root', 'string', 'folder of persistent state'),
  option('exec-root', 'string', 'folder of run-time state'),
  option('pidfile', 'string', 'file for the pid of the daemon', { short: 'p' }),
  option('debug', 'boolean', 'log more', { short: 'D' }),
  option('log-level', 'string', 'debug, info, warn, error or fatal', { short: 'l' }),
  option('log-format', 'string', 'text or json'),
  option('labels', 'list', 'key=value labels of the daemon', { flag: 'label' }),
  option('storage-driver', 'string', 'storage driver for containers that name none', { short: 's' }),
  option('storage-opts', 'map', 'storage driver options', { flag: 'storage-opt' }),
  option('bridge', 'string', "name of the default network's bridge, or none", { short: 'b' }),
  option('bip', 'string', "address of the default network's bridge with prefix length"),
  option('fixed-cidr', 'string', 'part of the default network from which addresses are given'),
  option('ipv6', 'boolean', 'IPv6 on the default network'),
  option('fixed-cidr-v6', 'string', 'IPv6 subnet of the default network'),
  option('mtu', 'number', 'MTU of the default network'),
  option('icc', 'boolean', 'containers of the default network may talk to each other'),
  option('ip-masq', 'boolean', 'masquerade for the default network'),
  option('ip-forward', 'boolean', 'switch IP forwarding on'),
  option('userland-proxy', 'boolean', 'one process for the published ports that the kernel cannot serve'),
  option('ip', 'string', 'host address for published ports that name none'),
  option('dns', 'list', 'DNS server for containers'),
  option('dns-opts', 'list', 'DNS option for containers', { flag: 'dns-opt' }),
  option('dns-search', 'list', 'DNS search domain for containers'),
  option('default-address-pools', 'list', 'pools for networks: base=CIDR,size=BITS', { flag: 'default-address-pool' }),
  option('cluster-store', 'string', 'state shared with other engines: etcd://HOST:PORT[,HOST:PORT][/PREFIX]'),
  option('cluster-advertise', 'string', 'address or interface by which other engines reach this one'),
  option('cluster-store-opts', 'map', 'options of the cluster store', { flag: 'cluster-store-opt' }),
  option('default-runtime', 'string', 'OCI runtime of containers that name none'),
  option('runtimes', 'map', 'NAME=PATH of one more OCI runtime', { flag: 'add-runtime' }),
  option('log-driver', 'string', 'log driver of containers that name none'),
  option('log-opts', 'map', 'options of the default log driver', { flag: 'log-opt' }),
  option('cgroup-parent', 'string', "parent of containers' cgroups"),
  option('init', 'boolean', 'run an init in every container'),
  option('init-path', 'string', 'the init'),
  option('default-shm-size', 'string', 'size of /dev/shm'),
  option('default-ulimits', 'map', 'NAME=SOFT[:HARD]', { flag: 'default-ulimit' }),
  option('no-new-privileges', 'boolean', 'set no-new-privileges for new containers'),
  option('seccomp-profile', 'string', 'path of a seccomp profile, builtin or unconfined'),
  option('default-stop-timeout', 'number', 'seconds from the stop signal to SIGKILL'),
  option('shutdown-timeout', 'number', 'seconds that stopping the daemon may take'),
  option('authorization-plugins', 'list', 'access plugin that is asked about every request; several are asked in order', {
    flag: 'authorization-plugin',
  }),
  option('plugin-socket-folders', 'list', 'folder of plugin sockets, instead of the usual ones', { flag: 'plugin-socket-folder' }),
  option('plugin-spec-folders', 'list', 'folder of .spec and .json files of plugins, instead of the usual ones', {
    flag: 'plugin-spec-folder',
  }),
  option('live-restore', 'boolean', 'accepted: containers always outlive the daemon'),
  option('registry-mirrors', 'list', 'mirror of the default registry', { flag: 'registry-mirror' }),
  option('insecure-registries', 'list', 'registry without TLS (host, host:port or CIDR)', { flag: 'insecure-registry' }),
  option('max-concurrent-downloads', 'number', 'layers that one pull loads at once'),
  option('max-concurrent-uploads', 'number', 'layers that one push sends at once'),
  option('max-download-attempts', 'number', 'tries for one layer'),
  option('metrics-addr', 'string', "HOST:PORT where the engine's metrics are served for Prometheus"),
  option('tls', 'boolean', 'TLS on TCP sockets'),
  option('tlsverify', 'boolean', 'TLS on TCP sockets, and clients need a certificate'),
  option('tlscacert', 'string', 'CA that signs client certificates'),
  option('tlscert', 'string', "the daemon's certificate"),
  option('tlskey', 'string', "the daemon's key"),
  option('validate', 'boolean', 'check the configuration and leave'),
];

export function usage(): string {
  const rows = options.map((entry) => {
    const names = `${entry.short ? `-${entry.short}, ` : '    '}--${entry.flag}${entry.type === 'boolean' ? '' : ` ${entry.type}`}`;
    return `  ${names.padEnd(38)} ${entry.help}`;
  });
  return [
    'Usage: gantryd [OPTIONS]',
    '',
    'The daemon of the Gantry container engine.',
    '',
    'Options:',
    '      --config-file string               daemon configuration file (/etc/gantry/daemon.json)',
    ...rows,
    '      --help                               print this',
    '  -v, --version                            print the version',
    '',
  ].join('\n');
}
