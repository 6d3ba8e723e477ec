import type { AccessAnswer, AccessDecision, AccessRequest, AuthorizationPlugin } from '@gantry/core/contracts/authorization.js';
import { EngineError } from '@gantry/core/contracts/errors.js';
import type { Plugin } from '../host/plugin.js';
import type { RequestOf, ResponseOf } from '../sdk/protocol/methods.js';

/** Where an access plugin is found when it is needed; never before, for the daemon's start waits for none. */
export interface PluginFinder {
  get(name: string): Plugin | undefined;
}

type Question = RequestOf<'AuthZPlugin.AuthZReq'>;

/** An access plugin in another process. Whatever is not a clear permission is a refusal. */
export class RemoteAuthorization implements AuthorizationPlugin {
  constructor(
    readonly name: string,
    private readonly plugins: PluginFinder,
  ) {}

  async authorizeRequest(request: AccessRequest): Promise<AccessDecision> {
    const plugin = await this.plugin();
    return decision(await plugin.call('AuthZPlugin.AuthZReq', question(request)));
  }

  async authorizeResponse(answer: AccessAnswer): Promise<AccessDecision> {
    const plugin = await this.plugin();
    return decision(
      await plugin.call('AuthZPlugin.AuthZRes', {
        ...question(answer),
        ResponseStatusCode: answer.statusCode,
        ...(answer.responseHeaders && { ResponseHeaders: { ...answer.responseHeaders } }),
        ...(answer.responseBody && { ResponseBody: answer.responseBody.toString('base64') }),
      }),
    );
  }

  private async plugin(): Promise<Plugin> {
    const plugin = this.plugins.get(this.name);
    if (!plugin) throw new EngineError('not-found', `plugin "${this.name}" not found`);
    await plugin.need('authz');
    return plugin;
  }
}

/** What is empty is left out, as plugins know it. */
function question(request: AccessRequest): Question {
  const { user, authenticationMethod, method, uri, headers, body, peerCertificates } = request;
  return {
    ...(user && { User: user }),
    ...(authenticationMethod && { UserAuthNMethod: authenticationMethod }),
    RequestMethod: method,
    RequestUri: uri,
    ...(body && { RequestBody: body.toString('base64') }),
    RequestHeaders: canonicalNames(headers),
    ...(peerCertificates?.length && { RequestPeerCertificates: peerCertificates.map((pem) => Buffer.from(pem).toString('base64')) }),
  };
}

/** As Go spells header names, which is how existing plugins look for them. */
const canonicalNames = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.replaceAll(/(^|-)[a-z]/g, (letter) => letter.toUpperCase()), value]),
  );

const decision = ({ Allow, Msg }: ResponseOf<'AuthZPlugin.AuthZReq'>): AccessDecision =>
  Allow ? { allow: true } : { allow: false, reason: Msg ?? '' };
