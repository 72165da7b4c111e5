// A real OpenID provider (npm oidc-provider) for the tests: whoever types a name is that person. Settings come as JSON
// in the first argument; nothing is kept.
import { generateKeyPairSync } from 'node:crypto';
import https from 'node:https';
import fs from 'node:fs';

import Provider from 'oidc-provider';

const settings = JSON.parse(process.argv[2]);
const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });

// Names under .localhost are this machine, as browsers have it.
const call = (url, options) => new Promise((resolve, reject) => {
  const target = new URL(url);
  const asked = https.request({
    host: '127.0.0.1', port: target.port, path: target.pathname, method: options.method, servername: target.hostname,
    headers: { ...options.headers, host: target.host, 'content-length': Buffer.byteLength(String(options.body)) },
    ca: fs.readFileSync(settings.authority),
  }, (answer) => { answer.resume(); answer.on('end', () => resolve({ status: answer.statusCode })); });
  asked.on('error', reject);
  asked.end(String(options.body));
});

const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  jwks: { keys: [{ ...key, kid: 'k1', use: 'sig', alg: 'RS256' }] },
  cookies: { keys: ['of the tests only'] },
  pkce: { required: () => true },
  features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: true } },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: 'shared@example.org' }) }),
  // People are not asked what may be told about them: the client is the company's own.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope('openid');
    await grant.save();
    return grant;
  },
  fetch: call,
});
provider.on('backchannel.error', (_, error) => console.error('backchannel', error.message));
provider.on('server_error', (_, error) => console.error('server', error));
provider.listen(settings.port, '127.0.0.1');
