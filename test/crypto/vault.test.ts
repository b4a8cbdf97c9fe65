/** Vaults and sealed values: what opens, what does not, and that refusals do not tell why. */
import * as assert from 'uvu/assert'
import { equalBytes, utf8 } from '../../crypto/bytes.ts'
import { openValue, openVault, rekeyVault, sealValue, sealVault } from '../../crypto/vault.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { outcome, value } from './support/devices.ts'

const test = suite('crypto/vault', { timeoutMs: 60_000 })

const random = seededRandom('vault')
const passphrase = utf8('correct horse battery staple')
const plaintext = utf8('the secrets of an account')
const vault = sealVault({ passphrase, plaintext, random })

test('opens with its passphrase alone', () => {
  assert.equal(value(openVault({ passphrase, vault })), plaintext)
  for (const wrong of ['Correct horse battery staple', '']) {
    assert.is(outcome(openVault({ passphrase: utf8(wrong), vault })), 'VAULT_PASSPHRASE')
  }
})

test('seals the same secrets differently each time', () => {
  const other = sealVault({ passphrase, plaintext, random })
  assert.is(other.length, vault.length)
  assert.not(equalBytes(other, vault))
})

test('refuses an altered vault as it refuses a wrong passphrase', () => {
  const wrong = openVault({ passphrase: utf8('wrong'), vault })
  // Salt, sealed key, nonce of the body, tag of the body.
  for (const at of [7, 47, 95, vault.length - 1]) {
    const altered = vault.slice()
    altered[at]! ^= 1
    assert.equal(openVault({ passphrase, vault: altered }), wrong, `byte ${at}`)
  }
})

test('does not let somebody weaken the parameters of a vault', () => {
  const weaker = vault.slice()
  weaker[5] = 1
  assert.is(outcome(openVault({ passphrase, vault: weaker })), 'VAULT_PASSPHRASE')
})

test('refuses at once what is no vault, or would cost too much to try', () => {
  const changed = (at: number, byte: number): Uint8Array => {
    const out = vault.slice()
    out[at] = byte
    return out
  }
  for (const bad of [
    new Uint8Array(0), vault.subarray(0, 134), changed(0, 2), changed(1, 0x7f),
    changed(5, 0), changed(5, 200), changed(6, 0), changed(6, 255),
  ]) assert.is(outcome(openVault({ passphrase, vault: bad })), 'VAULT_FORMAT')
})

test('bounds what a header may ask for before it does any of it', () => {
  const asking = (memoryKiB: number, passes: number, lanes: number): string => {
    const header = vault.slice()
    new DataView(header.buffer).setUint32(1, memoryKiB)
    header.set([passes, lanes], 5)
    return outcome(openVault({ passphrase, vault: header }))
  }
  const begunMs = performance.now()
  for (const [memoryKiB, passes, lanes] of [
    [0xffff_ffff, 255, 255], [100 * 1024 * 1024, 1, 1], [1024 * 1024 + 1, 1, 1], [1024 * 1024, 5, 1],
    [512 * 1024, 9, 1], [64 * 1024, 17, 1], [64 * 1024, 3, 9], [7, 1, 1], [15, 1, 2], [0, 0, 0],
  ] as const) assert.is(asking(memoryKiB, passes, lanes), 'VAULT_FORMAT', `${memoryKiB} ${passes} ${lanes}`)
  // One Argon2id of our own cost takes longer than all of these together.
  const refusedMs = performance.now() - begunMs
  openVault({ passphrase, vault })
  assert.ok(refusedMs < performance.now() - begunMs - refusedMs, `${refusedMs} ms`)
})

test('works as long for a wrong passphrase as for an altered body', () => {
  const large = sealVault({ passphrase, plaintext: new Uint8Array(8 * 1024 * 1024), random })
  const altered = large.slice()
  altered[altered.length - 1]! ^= 1
  const timed = (input: Parameters<typeof openVault>[0]): number => {
    const begunMs = performance.now()
    assert.is(outcome(openVault(input)), 'VAULT_PASSPHRASE')
    return performance.now() - begunMs
  }
  const wrong: number[] = []
  const damaged: number[] = []
  for (let i = 0; i < 5; i++) {
    wrong.push(timed({ passphrase: utf8('wrong'), vault: large }))
    damaged.push(timed({ passphrase, vault: altered }))
  }
  // The best of several runs: other work on the machine only ever adds.
  const ratio = Math.min(...wrong) / Math.min(...damaged)
  assert.ok(ratio > 0.5 && ratio < 2, `wrong ${wrong} ms, altered ${damaged} ms`)
})

test('changes its passphrase without changing what it holds', () => {
  const newPassphrase = utf8('another one')
  const rekeyed = value(rekeyVault({ vault, passphrase, newPassphrase, random }))
  assert.equal(value(openVault({ passphrase: newPassphrase, vault: rekeyed })), plaintext)
  assert.is(outcome(openVault({ passphrase, vault: rekeyed })), 'VAULT_PASSPHRASE')
  const refused = rekeyVault({ vault, passphrase: newPassphrase, newPassphrase, random })
  assert.is(outcome(refused), 'VAULT_PASSPHRASE')
})

test('opens a sealed value with its key at its place, and nowhere else', () => {
  const [key, ad] = [random.bytes(32), utf8('contacts|1')]
  const sealed = sealValue({ key, plaintext, ad, random })
  assert.equal(openValue({ key, sealed, ad }), plaintext)
  assert.is(openValue({ key, sealed, ad: utf8('contacts|2') }), undefined)
  assert.is(openValue({ key: random.bytes(32), sealed, ad }), undefined)
  for (let at = 0; at < sealed.length; at++) {
    assert.is(openValue({ key, sealed: sealed.subarray(0, at), ad }), undefined)
  }
  assert.not(equalBytes(sealed, sealValue({ key, plaintext, ad, random })))
})

test.run()
