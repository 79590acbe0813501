// Judges credentials with verifiers that are not ours. Nothing is fetched: what a verifier would fetch stands in `pages`.
// stdin: {"pages": {url: document}, "credentials": [document or compact token, …]}; stdout: one verdict each.
import {readFileSync} from 'node:fs';
import * as vc from '@digitalbazaar/vc';
import {DataIntegrityProof} from '@digitalbazaar/data-integrity';
import {cryptosuite} from '@digitalbazaar/eddsa-rdfc-2022-cryptosuite';
import {checkStatus} from '@digitalbazaar/vc-bitstring-status-list';
import {decodeProtectedHeader, importJWK, jwtVerify} from 'jose';

const {pages, credentials, now} = JSON.parse(readFileSync(0, 'utf8'));

function didDocument(did) {
  const [host, ...path] = did.slice('did:web:'.length).split(':').map(decodeURIComponent);
  return pages[`https://${host}/${path.length ? path.join('/') : '.well-known'}/did.json`];
}

async function documentLoader(url) {
  const [base, fragment] = url.split('#');
  let document = base.startsWith('did:web:') ? didDocument(base) : pages[base];
  if (document && fragment && base.startsWith('did:')) {
    const method = document.verificationMethod.find(({id}) => id === url);
    document = method && {'@context': 'https://w3id.org/security/multikey/v1', ...method};
  }
  if (!document) {
    throw new Error(`there is no page ${url}`);
  }
  return {contextUrl: null, documentUrl: url, document};
}

async function judgeDocument(credential) {
  const suite = new DataIntegrityProof({cryptosuite});
  const answer = await vc.verifyCredential({
    credential,
    suite,
    documentLoader,
    now: new Date(now),
    // A revoked credential answers `verified: true` with a set status: it is read below.
    checkStatus: options => checkStatus({...options, suite, documentLoader, verifyBitstringStatusListCredential: true}),
  });
  const revoked = (answer.statusResult?.results ?? []).some(({status}) => status);
  const errors = [answer.error, ...(answer.error?.errors ?? []), answer.statusResult?.error];
  return {verified: answer.verified && !revoked, revoked, errors: errors.filter(Boolean).map(String)};
}

async function judgeToken(token) {
  const {kid} = decodeProtectedHeader(token);
  const document = didDocument(kid.split('#')[0]);
  const method = document.verificationMethod.find(({id}) => id === kid);
  if (!method || !document.assertionMethod.includes(kid)) {
    throw new Error('the issuer does not name this key');
  }
  const key = await importJWK(method.publicKeyJwk, 'ES256');
  await jwtVerify(token, key, {algorithms: ['ES256'], issuer: document.id, currentDate: new Date(now)});
  return {verified: true, revoked: false, errors: []};
}

const verdicts = [];
for (const credential of credentials) {
  try {
    verdicts.push(await (typeof credential === 'string' ? judgeToken(credential) : judgeDocument(credential)));
  } catch (error) {
    verdicts.push({verified: false, revoked: false, errors: [String(error)]});
  }
}
process.stdout.write(JSON.stringify(verdicts));
