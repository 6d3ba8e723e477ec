import { describe, expect, it } from 'vitest';
import { flag, parseFlags } from './flags.js';

const table = {
  all: flag.boolean({ char: 'a', description: '' }),
  proxy: flag.boolean({ description: '', initial: true }),
  name: flag.string({ description: '' }),
  env: flag.list({ char: 'e', description: '' }),
  publish: flag.list({ char: 'p', description: '' }),
  count: flag.integer({ char: 'n', description: '', initial: -1 }),
  memory: flag.bytes({ char: 'm', description: '' }),
  swap: flag.bytes({ description: '', minusOne: true }),
  wait: flag.duration({ description: '' }),
  opt: flag.map({ char: 'o', description: '' }),
  alias: flag.commaList({ description: '' }),
  filter: flag.filter({ char: 'f', description: '' }),
};
const parse = (...argv: string[]): ReturnType<typeof parseFlags<typeof table>> => parseFlags(argv, table);

describe('a command line', () => {
  it('has a value for every flag, given or not', () => {
    const { flags, given } = parse();
    expect(flags).toEqual({
      all: false,
      proxy: true,
      name: '',
      env: [],
      publish: [],
      count: -1,
      memory: 0,
      swap: 0,
      wait: 0,
      opt: {},
      alias: [],
      filter: [],
    });
    expect(given.size).toBe(0);
  });

  it('takes values in every form of pflag', () => {
    const { flags, args } = parse('--name', 'x', '--env=A=1', '-eB=2', '-e', 'C', '-e=D', '-ap80:80', '-n=3', '--swap=-1', 'rest');
    expect(flags).toMatchObject({ name: 'x', env: ['A=1', 'B=2', 'C', 'D'], all: true, publish: ['80:80'], count: 3, swap: -1 });
    expect(args).toEqual(['rest']);
  });

  it('turns switches off by a value', () => {
    expect(parse('--proxy=false', '-a=0').flags).toMatchObject({ proxy: false, all: false });
    expect(parse('--proxy=false').given).toEqual(new Set(['proxy']));
  });

  it('may have arguments between flags, unless these belong to someone else', () => {
    expect(parse('one', '-a', 'two').args).toEqual(['one', 'two']);
    const line = parseFlags(['-a', 'image', 'sh', '-c', '--name'], table, false);
    expect(line.args).toEqual(['image', 'sh', '-c', '--name']);
    expect(line.flags.name).toBe('');
  });

  it('ends its flags at two dashes, and takes one dash as an argument', () => {
    expect(parse('-', '--', '-a', '--name').args).toEqual(['-', '-a', '--name']);
  });

  it('asks for help by --help, and by -h where no flag has that letter', () => {
    expect(parse('--help').help).toBe(true);
    expect(parse('-ah').help).toBe(true);
    const own = { host: flag.string({ char: 'h', description: '' }) };
    expect(parseFlags(['-hname'], own).flags.host).toBe('name');
  });

  it('reads lists, maps and conditions', () => {
    const { flags } = parse('-o', 'a=b=c', '-o', 'd', '--alias', 'x,y', '--alias', 'z', '-f', ' Name = x ', '--filter', 'label=a=b');
    expect(flags.opt).toEqual({ a: 'b=c', d: '' });
    expect(flags.alias).toEqual(['x', 'y', 'z']);
    expect(flags.filter).toEqual([
      ['name', 'x'],
      ['label', 'a=b'],
    ]);
  });

  it.each([
    [['--foo'], 'unknown flag: --foo'],
    [['--foo=1'], 'unknown flag: --foo'],
    [['-azb'], "unknown shorthand flag: 'z' in -zb"],
    [['--name'], 'flag needs an argument: --name'],
    [['-ae'], "flag needs an argument: 'e' in -e"],
    [['---x'], 'bad flag syntax: ---x'],
    [['--=x'], 'bad flag syntax: --=x'],
    [['--all=maybe'], 'invalid argument "maybe" for "-a, --all" flag: strconv.ParseBool: parsing "maybe": invalid syntax'],
    [['-n', 'x'], 'invalid argument "x" for "-n, --count" flag: strconv.ParseInt: parsing "x": invalid syntax'],
    [['-m', '1q'], 'invalid argument "1q" for "-m, --memory" flag: invalid suffix: \'q\''],
    [['--wait', '3'], 'invalid argument "3" for "--wait" flag: time: missing unit in duration "3"'],
    [['-f', 'x'], 'invalid argument "x" for "-f, --filter" flag: bad format of filter (expected name=value)'],
  ])('%j is refused in the words of Docker', (argv, message) => expect(() => parse(...argv)).toThrow(message));
});
