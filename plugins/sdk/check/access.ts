import type { Check } from './suite.js';

const asked = (body?: object): object => ({
  User: '',
  RequestMethod: 'POST',
  RequestUri: '/v1.44/containers/create?name=check',
  RequestHeaders: { 'Content-Type': 'application/json' },
  ...(body && { RequestBody: Buffer.from(JSON.stringify(body)).toString('base64') }),
});

export const accessChecks: readonly Check[] = [
  {
    name: 'decides about a request and its answer',
    async run(subject) {
      for (const [method, more] of [
        ['AuthZPlugin.AuthZReq', {}],
        ['AuthZPlugin.AuthZRes', { ResponseStatusCode: 201 }],
      ] as const) {
        const { answer } = await subject.ask(method, { ...asked({ Image: 'check' }), ...more });
        subject.must(typeof answer['Allow'] === 'boolean', `${method} answers Allow as true or false`);
      }
    },
  },
  {
    name: 'does not let pass what it cannot read',
    async run(subject) {
      const broken = { ...asked(), RequestBody: Buffer.from('{"HostConfig":').toString('base64') };
      const { answer } = await subject.ask('AuthZPlugin.AuthZReq', broken);
      subject.must(answer['Allow'] !== true, 'a body that is no JSON is not allowed');
      const empty = await subject.ask('AuthZPlugin.AuthZReq', undefined);
      subject.must(empty.answer['Allow'] !== true, 'an empty question is not allowed');
    },
  },
  {
    name: 'answers many at the same time',
    async run(subject) {
      await Promise.all(Array.from({ length: 32 }, () => subject.ask('AuthZPlugin.AuthZReq', asked({ Image: 'check' }))));
    },
  },
  {
    name: 'goes on when a caller goes away',
    async run(subject) {
      await subject.abandon('AuthZPlugin.AuthZReq', asked({ Image: 'check' }));
      await subject.ok('AuthZPlugin.AuthZReq', asked({ Image: 'check' }), 'a question is answered after one whose asker went away');
    },
  },
  {
    name: 'decides as before after it was killed',
    async run(subject) {
      const ask = async (): Promise<unknown> => (await subject.ask('AuthZPlugin.AuthZReq', asked({ Image: 'check' }))).answer['Allow'];
      const before = await ask();
      await subject.interrupt('AuthZPlugin.AuthZReq', asked({ Image: 'check' }));
      subject.must((await ask()) === before, 'the same question has the same answer after a restart');
    },
  },
];
