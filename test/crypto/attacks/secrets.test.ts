/**
 * No secret in what prints (checklist.ts, 15): every class of `crypto/` that holds one, everything
 * that is refused or thrown, and all that a client logs, tells and throws in a life with faults.
 */
import { globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { concat, equalBytes, hex, utf8 } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import { NoiseCipher, NoiseHandshake } from '../../../crypto/noise.ts'
import { peekInitial, SecureSession } from '../../../crypto/secure-session.ts'
import { openVault, sealVault } from '../../../crypto/vault.ts'
import { readAccount } from '../../../protocol/client/account-state.ts'
import { contactCodec } from '../../../protocol/client/records.ts'
import { decode } from '../../../protocol/codec/struct.ts'
import { Client } from '../../../protocol/client/client.ts'
import { seededRandom, randomInteger } from '../../helpers/seeded-random.ts'
import { Person, World } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'
import { backends } from '../support/backends.ts'
import { ad, establish, TestDevice } from '../support/devices.ts'
import { Dishonest } from '../support/dishonest-contact.ts'
import { leak, piecesOf, printed } from '../support/leaks.ts'

const test = suite('crypto/attacks/secrets', { timeoutMs: 60_000 })

const random = seededRandom('secrets')
const root = resolve(import.meta.dirname, '../../..')

/** Classes of `crypto/` without a probe below, and why. */
const withoutProbe: Readonly<Record<string, string>> = {
  OpenIMError: 'holds what its thrower gives it; every one thrown here is looked at',
  FieldReader: 'a view of bytes that are the caller\'s, private',
  FieldWriter: 'private, and empty between two states',
  Sha256: 'a hash of public data',
  ReceivingChain: 'lives inside a Ratchet, which shows nothing of itself',
  Ratchet: 'lives inside a SecureSession; its own test is in ../ratchet.test.ts',
  ShortAuth: 'its own test is in ../short-auth.test.ts',
}

function check(text: string, secrets: Readonly<Record<string, Uint8Array>>): void {
  const found = leak(text, secrets)
  if (found !== undefined) throw new Error(`${found}: ${text.slice(0, 300)}`)
}

test('the search finds a secret in every form that printing gives it', () => {
  const secret = random.bytes(32)
  const secrets = { secret }
  for (const text of [
    printed(secret), printed({ a: { b: [secret] } }), printed(Buffer.from(secret)),
    hex(secret), hex(secret).toUpperCase(), JSON.stringify({ secret }), printed(new Error(hex(secret))),
    Buffer.from(concat(utf8('x'), secret)).toString('base64'),
    Buffer.from(concat(utf8('xy'), secret)).toString('base64url'),
    `raw ${Buffer.from(secret).toString('latin1')}`,
  ]) {
    assert.ok(leak(text, secrets), text.slice(0, 100))
  }
  assert.is(leak(printed(random.bytes(32)), secrets), undefined)
})

test('every class of crypto/ that holds a secret has a probe here, or a reason', () => {
  const probed = ['SecureSession', 'NoiseCipher', 'NoiseHandshake', 'ByteKeyPair']
  const exported = globSync('crypto/**/*.ts', { cwd: root }).flatMap((file) => {
    const classes = readFileSync(join(root, file), 'utf8').matchAll(/^export (?:abstract )?class (\w+)/gm)
    return [...classes].map(([, name]) => name!)
  })
  const known = [...probed, ...Object.keys(withoutProbe)]
  const unknown = exported.filter((name) => !known.includes(name))
  assert.equal(unknown, [], 'add a probe, or a reason to withoutProbe')
})

test('key pairs of every backend show their public key and nothing else', () => {
  for (const backend of backends) {
    for (const [secret, keys] of [
      [random.bytes(32), backend.dhKeyPair],
      [random.bytes(32), backend.signingKeyPair],
      [random.bytes(64), backend.kemKeyPair],
    ] as const) {
      const pair = keys(secret)
      assert.equal(pair.exportSecret(), secret)
      check(printed(pair), { [`a secret of ${backend.name}`]: secret })
      assert.not.ok('secret' in pair)
    }
  }
})

test('the channel shows none of its keys, in the handshake and after', () => {
  const secrets: Record<string, Uint8Array> = {}
  const drawn = {
    bytes: (length: number) => (secrets[`drawn ${Object.keys(secrets).length}`] = random.bytes(length)),
  }
  const end = (role: 'initiator' | 'responder', secret: Uint8Array, remote?: Uint8Array): NoiseHandshake =>
    new NoiseHandshake({
      pattern: 'IK', role, prologue: new Uint8Array(0), random: drawn, own: crypto.dhKeyPair(secret),
      ...remote && { remoteStaticKey: remote },
    })
  const [device, door, key] = [random.bytes(32), random.bytes(32), random.bytes(32)]
  Object.assign(secrets, { device, door, key })
  const initiator = end('initiator', device, crypto.dhKeyPair(door).publicKey)
  const responder = end('responder', door)
  responder.read(initiator.write(utf8('early')))
  initiator.read(responder.write(utf8('answer')))
  const ciphers = initiator.split()
  for (const value of [initiator, responder, ciphers.send, ciphers.receive, new NoiseCipher(key.slice())]) {
    check(printed(value), secrets)
  }
})

test('a session, and what it refuses, show nothing of its state', () => {
  const [alice, bob] = [new TestDevice(random), new TestDevice(random)]
  const [one, other] = establish(alice, bob)
  const initial = alice.encrypt(alice.initiate(bob.bundle()), 'swordfish, then sturgeon')
  const message = alice.encrypt(one, 'halibut, then haddock')
  const open = [
    concat(alice.identity.signingKey, alice.identity.dhKey),
    concat(bob.identity.signingKey, bob.identity.dhKey),
  ]
  const secrets = {
    ...piecesOf('a state', other.serialize(), open), ...piecesOf('a state', one.serialize(), open),
    plaintext: utf8('halibut, then haddock'), 'first plaintext': utf8('swordfish, then sturgeon'),
    'DH key': bob.own.dhKeys.exportSecret(), 'signing key': bob.own.signingKeys.exportSecret(),
    prekey: bob.signedPrekey.keys.exportSecret(), 'KEM prekey': bob.lastResortKem.keys.exportSecret(),
  }
  check(printed(other) + printed(one) + printed(other.clone()), secrets)
  const { own, prekeys } = bob
  for (let round = 0; round < 400; round++) {
    const original = round % 2 === 0 ? initial : message
    const altered = original.slice(0, round % 7 === 0 ? randomInteger(random, original.length) : undefined)
    if (altered.length > 0) altered[randomInteger(random, altered.length)]! ^= 1 << randomInteger(random, 8)
    if (equalBytes(altered, original)) continue
    const read = other.decrypt({ message: altered, ad })
    const responded = SecureSession.respond({ own, message: altered, ad, prekeys })
    for (const refusal of [read, responded]) if (!refusal.ok) check(printed(refusal), secrets)
    check(printed(peekInitial(altered)), secrets)
  }
  const state = other.serialize()
  for (const bad of [state.subarray(1), new Uint8Array(3), concat(state, new Uint8Array(1))]) {
    const thrown = errorOf(() => SecureSession.deserialize(bad))
    assert.ok(thrown)
    check(printed(thrown), secrets)
  }
})

test('a vault that does not open tells nothing of passphrase, key or content', () => {
  const [passphrase, plaintext] = [utf8('correct horse battery'), utf8('the content of the vault')]
  const vault = sealVault({ passphrase, plaintext, random })
  const secrets = { passphrase, plaintext, wrong: utf8('wrong horse battery') }
  const altered = vault.slice()
  altered[altered.length - 1]! ^= 1
  for (const result of [
    openVault({ passphrase: secrets.wrong, vault }), openVault({ passphrase, vault: altered }),
    openVault({ passphrase, vault: vault.subarray(0, 30) }),
  ]) {
    assert.not.ok(result.ok)
    check(printed(result), secrets)
  }
})

test('a client logs, tells and throws no secret in a life with faults', async () => {
  const world = new World('secrets of a client')
  const told: unknown[] = []
  const alice = new Person(world, 'Alice')
  world.people.push(alice)
  await world.run(alice.begin())
  const client = await listen(world, alice, told)
  const bob = await world.person('Bob')
  await world.meet(alice, bob)
  const texts = ['a text that nobody else may read', 'another text that nobody may read']
  await world.run(client.send('Bob', texts[0]!))
  await world.run(bob.client.send('Alice', texts[1]!))
  await world.clock.advance(3_000)
  const dishonest = await Dishonest.contact(world, bob, alice)
  const once = dishonest.envelope(texts[1]!)
  for (const envelope of [once, dishonest.rewrapped(once), dishonest.rubbish()]) dishonest.deposit(envelope)
  alice.node.session!.reset()
  alice.node.push({ type: 'deliver', envelopes: [random.bytes(700)] })
  await world.clock.advance(5_000)
  const { uri } = await world.run(client.invite())
  for (const call of [
    () => client.add(uri), () => client.add(`${uri.slice(0, -3)}AAA`), () => client.send('nobody', texts[0]!),
    () => client.send('Bob', 'x'.repeat(100_000)), () => client.rename('Bob', '\u202e'),
    () => Client.create({ kv: alice.store.kv, clock: world.clock, random, name: 'Alice' }),
  ]) {
    told.push(await world.run(call().then((value) => ({ value }), (error: unknown) => error)))
  }
  alice.beforeWrite = () => { throw Object.assign(new Error('no room'), { code: 'STORE_FULL' }) }
  told.push(await world.run(client.send('Bob', texts[0]!).catch((error: unknown) => error)))
  told.push(client, await client.info(), await client.contacts(), alice.warnings)
  const secrets = await secretsOf(alice)
  const shown = told.filter((value) => !isAbout(value, uri)).map(printed).join('\n')
  check(shown, { ...secrets, text: utf8(texts[0]!), 'other text': utf8(texts[1]!) })
  await world.end()
})

test.run()

function errorOf(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  return undefined
}

/** Alice's client once more, over her store, with everything it says written down. */
async function listen(world: World, alice: Person, told: unknown[]): Promise<Client> {
  await world.run(alice.client.stop())
  const log = {
    debug: (fields: object, message: string): void => { told.push(fields, message) },
    warn: (fields: object, message: string): void => { told.push(fields, message) },
  }
  const account = (await readAccount(alice.store.kv))!
  const client = await Client.open({
    kv: {
      get: (key) => alice.store.kv.get(key),
      list: (range) => alice.store.kv.list(range),
        expire: (nowMs, budget) => alice.store.kv.expire(nowMs, budget),
    write: (operations) => {
        alice.beforeWrite()
        return alice.store.kv.write(operations)
      },
    },
    clock: world.clock, random, log,
    connect: (listener) => alice.node.connect(listener, hex(account.linkKeys.publicKey)),
  })
  client.on((event) => { if (event.type !== 'message') told.push(event) })
  await client.start()
  Object.defineProperty(alice, 'client', { value: client })
  return client
}

/** The invite itself is told to the person, and holds what it holds. */
function isAbout(value: unknown, uri: string): boolean {
  return JSON.stringify(value)?.includes(uri.slice(0, 40)) ?? false
}

/** Everything in a store that must not show. */
async function secretsOf({ store: { kv } }: Person): Promise<Record<string, Uint8Array>> {
  const account = (await readAccount(kv))!
  const secrets: Record<string, Uint8Array> = {
    entropy: account.entropy!,
    signing: account.identity.signingKeys.exportSecret(),
    dh: account.identity.dhKeys.exportSecret(),
    link: account.linkKeys.exportSecret(),
    shelf: account.shelfKeys.exportSecret(),
    'shelf secret': account.shelfSecret,
  }
  const open = [account.identity.signingKeys.publicKey, account.identity.dhKeys.publicKey]
  for (const { key, value } of await kv.list({ prefix: 'session/' })) {
    // Version and the other device's keys come first.
    Object.assign(secrets, piecesOf(key, value.subarray(65), open))
  }
  for (const { key, value } of await kv.list({ prefix: 'contact/' })) {
    const { box, card } = decode(contactCodec, value)
    Object.assign(secrets, {
      [`${key} write`]: box.writeSeed, [`${key} read`]: box.readSeed, [`${key} seal`]: box.sealKey,
      ...card && { [`${key} card`]: card.writeSeed, [`${key} card seal`]: card.sealKey },
    })
  }
  return secrets
}
