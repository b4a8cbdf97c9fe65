/** Logging in with app passwords and tokens: what is offered, what is refused, and what a guess costs. */
import { createHmac } from 'node:crypto'
import * as assert from 'uvu/assert'
import { utf8, utf8Decode } from '../../../../crypto/bytes.ts'
import { errorCode } from '../../../../crypto/errors.ts'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import type { KvStore } from '../../../../protocol/ports.ts'
import { Authenticator } from '../../../../bridges/xmpp/auth/authenticator.ts'
import type { LoginAttempt } from '../../../../bridges/xmpp/auth/authenticator.ts'
import { Credentials } from '../../../../bridges/xmpp/auth/credentials.ts'
import { HashedTokens } from '../../../../bridges/xmpp/auth/hashed-tokens.ts'
import { LoginThrottle } from '../../../../bridges/xmpp/auth/login-throttle.ts'
import { noChannelBindings } from '../../../../bridges/xmpp/auth/sasl.ts'
import type { LoginAccount, Proven, SaslStep } from '../../../../bridges/xmpp/auth/sasl.ts'
import { suite } from '../../../helpers/harness.ts'
import { ScramClient } from '../../../helpers/scram-client.ts'
import { seededRandom } from '../../../helpers/seeded-random.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'

const test = suite('bridges/xmpp/auth/authenticator')

const alice = { id: '00000000000000a1', local: 'alice' }
const bindings = {
  types: ['tls-exporter', 'tls-server-end-point'], data: (type: string) => utf8(`binding ${type}`),
}
const connection = { address: '192.0.2.1', isEncrypted: true, bindings }
const dayMs = 86_400_000

interface Place {
  readonly kv: KvStore
  readonly clock: VirtualClock
  readonly credentials: Credentials
  readonly tokens: HashedTokens
  readonly authenticator: Authenticator
}

function place({ isPlainAllowed = false } = {}): Place {
  const clock = new VirtualClock()
  const kv = memoryKv(clock)
  const random = seededRandom('authenticator')
  const onError = (error: unknown): void => { throw error as Error }
  const credentials = new Credentials({ kv, clock, random, onError })
  const tokens = new HashedTokens({ kv, clock, random })
  const throttle = new LoginThrottle(clock)
  const account = async (local: string): Promise<LoginAccount | undefined> =>
    local === 'alice' ? alice : undefined
  const authenticator = new Authenticator(
    { clock, random, credentials, tokens, throttle, account }, { domain: 'a.test', isPlainAllowed },
  )
  return { kv, clock, credentials, tokens, authenticator }
}

interface Login extends Partial<LoginAttempt> {
  readonly username?: string
  readonly password: string
  readonly authzid?: string
}

/** The whole exchange of a SCRAM client; its outcome as a word, and who was proven. */
async function scram(
  { authenticator }: Place,
  { username = 'alice', password, authzid, mechanism = 'SCRAM-SHA-256', ...connected }: Login,
): Promise<{ readonly outcome: string, readonly challenge?: string, readonly proven?: Proven }> {
  const exchange = authenticator.begin({ ...connection, ...connected, mechanism })
  if ('ok' in exchange) return { outcome: exchange.condition }
  const isPlus = mechanism.endsWith('-PLUS')
  const client = new ScramClient({
    hash: mechanism.includes('256') ? 'sha256' : 'sha1', username, password,
    ...authzid === undefined ? {} : { authzid },
    ...isPlus ? { flag: 'p=tls-exporter', binding: bindings.data('tls-exporter') } : {},
  })
  const first = await exchange.step(utf8(client.first()))
  if (first.type !== 'challenge') return ended(first)
  const challenge = utf8Decode(first.data)
  const last = await exchange.step(utf8(client.final(challenge)))
  if (last.type === 'success') assert.ok(
    client.accepts(utf8Decode(last.data!)), 'the server knows the password',
  )
  return { ...ended(last), challenge }
}

function ended(step: SaslStep): { outcome: string, proven?: Proven } {
  if (step.type === 'failure') return { outcome: step.failure.condition }
  return step.type === 'success' ? { outcome: 'success', proven: step.proven } : { outcome: step.type }
}

interface TokenLogin {
  readonly token: string
  readonly mechanism?: string
  readonly clientId?: string
  readonly count?: number
  readonly invalidate?: boolean
  readonly username?: string
}

async function byToken(
  { authenticator }: Place,
  {
    token, mechanism = 'HT-SHA-256-NONE', clientId = 'phone-1', count, invalidate = false, username = 'alice',
  }: TokenLogin,
): Promise<{ readonly outcome: string, readonly proven?: Proven }> {
  const use = { clientId, invalidate, ...count === undefined ? {} : { count } }
  const exchange = authenticator.begin({ ...connection, mechanism, token: use })
  if ('ok' in exchange) return { outcome: exchange.condition }
  const type = mechanism.endsWith('EXPR') ? 'tls-exporter' : 'tls-server-end-point'
  const data = mechanism.endsWith('NONE') ? '' : `binding ${type}`
  const hash = (label: string): Buffer => createHmac('sha256', token).update(label).update(data).digest()
  const step = await exchange.step(Buffer.concat([utf8(`${username}\0`), hash('Initiator')]))
  if (step.type === 'success') assert.equal(
    Buffer.from(step.data!), hash('Responder'), 'the server has it, too',
  )
  return ended(step)
}

async function loggedIn(scene: Place): Promise<{ password: string, proven: Proven }> {
  const password = await scene.credentials.add(alice, 'phone')
  const { proven } = await scram(scene, { password })
  return { password, proven: proven! }
}

async function tokenFor(scene: Place, proven: Proven, mechanism = 'HT-SHA-256-NONE'): Promise<string> {
  const issued = await scene.authenticator.issueToken(proven, { clientId: 'phone-1', mechanism, connection })
  return issued!.token
}

function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return promise.then(() => undefined, errorCode)
}

test('offers nothing outside of TLS, -PLUS first where it can, and PLAIN only when told to', () => {
  const { authenticator } = place()
  assert.equal(authenticator.mechanisms({ ...connection, isEncrypted: false }), [])
  assert.equal(authenticator.mechanisms(connection), [
    'SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-1',
  ])
  assert.equal(place({ isPlainAllowed: true }).authenticator.mechanisms(
    { ...connection, bindings: noChannelBindings },
  ), [
    'SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN',
  ])
  assert.equal(authenticator.begin({ ...connection, isEncrypted: false, mechanism: 'SCRAM-SHA-1' }), {
    ok: false, condition: 'encryption-required',
  })
  for (const mechanism of ['PLAIN', 'EXTERNAL', 'DIGEST-MD5', 'HT-SHA-256-NONE']) {
    assert.equal(
      authenticator.begin({ ...connection, mechanism }), { ok: false, condition: 'invalid-mechanism' },
    )
  }
})

test('logs in with any of several app passwords by every mechanism, and refuses a wrong one', async () => {
  const scene = place()
  const phone = await scene.credentials.add(alice, 'phone')
  const laptop = await scene.credentials.add(alice, 'laptop')
  const ids = new Set<string>()
  for (const mechanism of scene.authenticator.mechanisms(connection)) {
    for (const password of [phone, laptop]) {
      const { outcome, proven } = await scram(scene, { mechanism, password })
      assert.is(outcome, 'success', mechanism)
      assert.is(proven!.account.id, alice.id)
      ids.add(proven!.passwordId)
    }
    assert.is((await scram(scene, { mechanism, password: 'guess' })).outcome, 'not-authorized', mechanism)
  }
  assert.is(ids.size, 2)
})

test('answers for a name that nobody has as for one that somebody has', async () => {
  const scene = place()
  const before = await scram(scene, { password: 'guess' })
  await scene.credentials.add(alice, 'phone')
  const known = await scram(scene, { password: 'guess' })
  const unknown = await scram(scene, { username: 'nobody', password: 'guess' })
  const again = await scram(scene, { username: 'nobody', password: 'guess' })
  assert.equal([before.outcome, known.outcome, unknown.outcome], Array(3).fill('not-authorized'))
  const salts = [before, known, unknown, again]
    .map(({ challenge }) => /,s=(.*),i=10000$/.exec(challenge!)![1])
  assert.is(salts[0], salts[1], 'the salt does not tell when somebody came')
  assert.is(salts[2], salts[3])
  assert.is.not(salts[1], salts[2])
})

test('lets nobody log in as somebody else', async () => {
  const scene = place()
  const password = await scene.credentials.add(alice, 'phone')
  assert.is((await scram(scene, { password, authzid: 'bob@a.test' })).outcome, 'invalid-authzid')
  assert.is((await scram(scene, { password, authzid: 'alice@b.test' })).outcome, 'invalid-authzid')
  assert.is((await scram(scene, { password, authzid: 'alice@a.test' })).outcome, 'success')
  assert.is((await scram(scene, { password, username: 'alice@a.test' })).outcome, 'not-authorized')
})

test('takes PLAIN where it is allowed, and only with the right password for oneself', async () => {
  const scene = place({ isPlainAllowed: true })
  const password = await scene.credentials.add(alice, 'old client')
  const plain = async (message: string): Promise<string> => {
    const exchange = scene.authenticator.begin({ ...connection, mechanism: 'PLAIN' })
    return 'ok' in exchange ? exchange.condition : ended(await exchange.step(utf8(message))).outcome
  }
  assert.is(await plain(`\0alice\0${password}`), 'success')
  assert.is(await plain(`alice@a.test\0alice\0${password}`), 'success')
  assert.is(await plain(`bob@a.test\0alice\0${password}`), 'invalid-authzid')
  assert.is(await plain('\0alice\0guess'), 'not-authorized')
  assert.is(await plain(`\0nobody\0${password}`), 'not-authorized')
  assert.is(await plain('alice'), 'malformed-request')
})

test('names passwords, says when each was used, and ends one alone', async () => {
  const scene = place()
  const { credentials, clock } = scene
  const phone = await credentials.add(alice, 'phone')
  const laptop = await credentials.add(alice, 'laptop')
  assert.is(await codeOf(credentials.add(alice, 'phone')), 'XMPP_PASSWORD_NAME')
  assert.is(await codeOf(credentials.add(alice, ' ')), 'XMPP_PASSWORD_NAME')
  assert.is(await codeOf(credentials.set(alice, { name: 'x', password: 'a\tb' })), 'XMPP_PASSWORD_TEXT')
  await scram(scene, { password: phone })
  await clock.settle()
  assert.equal((await credentials.list(alice.id)).map(({ name, lastUsedAtMs }) => [name, lastUsedAtMs]), [
    ['phone', clock.now()], ['laptop', undefined],
  ])
  const ended: string[] = []
  credentials.onRevoked((accountId, passwordId) => ended.push(`${accountId} ${passwordId}`))
  assert.is(await credentials.revoke(alice.id, 'phone'), true)
  assert.is(await credentials.revoke(alice.id, 'phone'), false)
  assert.is(ended.length, 1)
  assert.is((await scram(scene, { password: phone })).outcome, 'not-authorized')
  assert.is((await scram(scene, { password: laptop })).outcome, 'success')
})

test('keeps no password, and of a token without channel binding nothing that logs in', async () => {
  const scene = place()
  const { password, proven } = await loggedIn(scene)
  const token = await tokenFor(scene, proven)
  const initiator = createHmac('sha256', token).update('Initiator').digest()
  for (const { value } of await scene.kv.list({ prefix: '' })) {
    for (const secret of [utf8(password), utf8(token), Buffer.from(token, 'base64'), initiator]) {
      assert.is(Buffer.from(value).includes(Buffer.from(secret)), false)
    }
  }
})

test('logs in by a token of each kind, with its mechanism and its client alone', async () => {
  const scene = place()
  const { proven } = await loggedIn(scene)
  for (const mechanism of scene.authenticator.tokenMechanisms(connection)) {
    const token = await tokenFor(scene, proven, mechanism)
    assert.is((await byToken(scene, { token, mechanism })).outcome, 'success', mechanism)
    assert.is((await byToken(scene, { token, mechanism, clientId: 'laptop-1' })).outcome, 'not-authorized')
    assert.is((await byToken(scene, { token, mechanism, username: 'bob' })).outcome, 'not-authorized')
    const other = mechanism === 'HT-SHA-256-NONE' ? 'HT-SHA-256-EXPR' : 'HT-SHA-256-NONE'
    assert.is((await byToken(scene, { token, mechanism: other })).outcome, 'not-authorized', 'no downgrade')
    const { outcome, proven: again } = await byToken(scene, { token, mechanism })
    assert.equal([outcome, again!.passwordId], ['success', proven.passwordId])
  }
})

test('keeps an older token until the newer one is used, then ends it', async () => {
  const scene = place()
  const { proven } = await loggedIn(scene)
  const older = await tokenFor(scene, proven)
  assert.is((await byToken(scene, { token: older })).proven!.isTokenDue, false)
  await scene.clock.advance(dayMs)
  assert.is((await byToken(scene, { token: older })).proven!.isTokenDue, true)
  const lost = await tokenFor(scene, proven)
  const newer = await tokenFor(scene, proven)
  assert.is((await byToken(scene, { token: lost })).outcome, 'not-authorized')
  assert.is((await byToken(scene, { token: older })).outcome, 'success')
  assert.is((await byToken(scene, { token: newer })).outcome, 'success')
  assert.is((await byToken(scene, { token: older })).outcome, 'not-authorized')
})

test('ends a token by its client, by its age, and with its app password', async () => {
  const scene = place()
  const { proven } = await loggedIn(scene)
  let token = await tokenFor(scene, proven)
  assert.is((await byToken(scene, { token, invalidate: true })).outcome, 'success')
  assert.is((await byToken(scene, { token })).outcome, 'not-authorized')
  token = await tokenFor(scene, proven)
  await scene.clock.advance(21 * dayMs)
  assert.is((await byToken(scene, { token })).outcome, 'not-authorized')
  token = await tokenFor(scene, proven)
  await scene.credentials.revoke(alice.id, 'phone')
  assert.is((await byToken(scene, { token })).outcome, 'credentials-expired')
  await scene.tokens.revoke(alice.id, proven.passwordId)
  assert.is((await byToken(scene, { token })).outcome, 'not-authorized')
})

test('takes no login twice from a client that counts', async () => {
  const scene = place()
  const { proven } = await loggedIn(scene)
  const token = await tokenFor(scene, proven)
  assert.is((await byToken(scene, { token, count: 1 })).outcome, 'success')
  assert.is((await byToken(scene, { token, count: 1 })).outcome, 'not-authorized')
  assert.is((await byToken(scene, { token, count: 7 })).outcome, 'success')
  assert.is((await byToken(scene, { token, count: 6 })).outcome, 'not-authorized')
})

test('makes an address wait that guesses, twice as long each time, and no other', async () => {
  const scene = place()
  const password = await scene.credentials.add(alice, 'phone')
  for (let i = 0; i < 5; i++) {
    assert.is((await scram(scene, { username: `guess${i}`, password: 'guess' })).outcome, 'not-authorized')
  }
  assert.is((await scram(scene, { password })).outcome, 'temporary-auth-failure')
  assert.is((await scram(scene, { password, address: '192.0.2.2' })).outcome, 'success')
  await scene.clock.advance(1_000)
  assert.is((await scram(scene, { username: 'guess6', password: 'guess' })).outcome, 'not-authorized')
  await scene.clock.advance(1_000)
  assert.is((await scram(scene, { password })).outcome, 'temporary-auth-failure')
  await scene.clock.advance(1_000)
  assert.is((await scram(scene, { password })).outcome, 'success')
})

test('lets nobody be kept out by a guesser behind the same reverse proxy', async () => {
  const scene = place()
  const password = await scene.credentials.add(alice, 'phone')
  const address = '127.0.0.1'
  for (let i = 0; i < 9; i++) await scram(scene, { username: `guess${i}`, password: 'guess', address })
  assert.is((await scram(scene, { password, address })).outcome, 'success')
})

test('slows an account down that many guess at, but not for its owner, and never locks it', async () => {
  const scene = place()
  const { clock } = scene
  const password = await scene.credentials.add(alice, 'phone')
  const home = '198.51.100.7'
  assert.is((await scram(scene, { password, address: home })).outcome, 'success')
  for (let i = 0; i < 30; i++) {
    const guess = scram(scene, { password: 'guess', address: `203.0.113.${i}` })
    assert.is((await clock.until(guess, { withinMs: 6_000 })).outcome, 'not-authorized')
  }
  const startMs = clock.monotonicMs()
  assert.is((await scram(scene, { password, address: home })).outcome, 'success')
  assert.is(clock.monotonicMs(), startMs)
  const elsewhere = scram(scene, { password, address: '2001:db8::1' })
  assert.is((await clock.until(elsewhere, { withinMs: 6_000 })).outcome, 'success')
  assert.is(clock.monotonicMs() - startMs, 5_000)
})

test('bounds the passwords of an account and the clients that hold tokens', async () => {
  const scene = place()
  const { proven } = await loggedIn(scene)
  for (let i = 0; i < 70; i++) {
    await scene.tokens.issue(
      alice.id, { clientId: `client ${i}`, mechanism: 'HT-SHA-256-NONE', passwordId: proven.passwordId },
    )
  }
  assert.is((await scene.kv.list({ prefix: 'fast/' })).length, 64)
  for (let i = 1; i < 32; i++) await scene.credentials.add(alice, `device ${i}`)
  assert.is(await codeOf(scene.credentials.add(alice, 'one more')), 'XMPP_PASSWORD_TOO_MANY')
})

test.run()
