/**
 * What Node runs and what a browser runs: which backend is asked for what, when libsodium is loaded
 * and when not, and that a process without WebAssembly computes all the same.
 */
import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import * as assert from 'uvu/assert'
import { hex, utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { mixed } from '../../crypto/provider-mixed.ts'
import type { CheckedProvider, CryptoProvider } from '../../crypto/provider.ts'
import { suite } from '../helpers/harness.ts'
import { backends } from './support/backends.ts'

const test = suite('crypto/provider-mixed', { timeoutMs: 60_000 })

const root = resolve(import.meta.dirname, '../..')
const [, node, wasm] = backends as [CryptoProvider, CryptoProvider, CryptoProvider]
const [key, nonce, nonceX] = [new Uint8Array(32), new Uint8Array(12), new Uint8Array(24)]
const plaintext = utf8('short')

type Method = (...args: never[]) => unknown

/** `backend`, noting each call of a method in `calls`. */
function noted(backend: CryptoProvider, calls: string[]): CryptoProvider {
  return Object.fromEntries(Object.entries(backend).map(([name, method]) => [
    name,
    typeof method !== 'function' ? method : (...args: never[]) => {
      calls.push(`${backend.name} ${name}`)
      return (method as Method)(...args)
    },
  ])) as unknown as CryptoProvider
}

interface Scene {
  readonly provider: CheckedProvider
  /** What was called since this was read last, sorted. */
  called(): string[]
  loads(): number
}

function scene(loadShort: () => Promise<CryptoProvider> = async () => wasm): Scene {
  const calls: string[] = []
  let loads = 0
  const provider = mixed({
    large: noted(node, calls),
    fallbacks: [],
    loadShort: async () => {
      loads++
      return noted(await loadShort(), calls)
    },
  })
  return { provider, called: () => calls.splice(0).sort(), loads: () => loads }
}

test('asks wasm for short inputs and OpenSSL for long ones, once wasm is there', async () => {
  const { provider, called } = scene()
  provider.seal({ key, nonce, plaintext })
  assert.equal(called(), ['node seal'])
  await provider.warmUp()
  called()
  const bytes = (length: number): Uint8Array => new Uint8Array(length)
  for (const length of [0, 2_048, 2_049]) provider.seal({ key, nonce, plaintext: bytes(length) })
  assert.equal(called(), ['node seal', 'wasm seal', 'wasm seal'])
  for (const length of [16, 2_048, 2_049]) provider.open({ key, nonce, ciphertext: bytes(length) })
  assert.equal(called(), ['node open', 'wasm open', 'wasm open'])
  for (const length of [0, 4_096, 4_097]) provider.sealX({ key, nonce: nonceX, plaintext: bytes(length) })
  assert.equal(called(), ['node sealX', 'wasm sealX', 'wasm sealX'])
  for (const length of [16, 4_096, 4_097]) provider.openX({ key, nonce: nonceX, ciphertext: bytes(length) })
  assert.equal(called(), ['node openX', 'wasm openX', 'wasm openX'])
  for (const length of [0, 512, 513]) provider.hmacSha256(key, bytes(length))
  assert.equal(called(), ['node hmacSha256', 'wasm hmacSha256', 'wasm hmacSha256'])

  const keys = provider.signingKeyPair(key)
  assert.ok(provider.isVerifyKey(keys.publicKey))
  provider.sign(keys, plaintext)
  provider.dh(provider.dhKeyPair(key), keys.publicKey)
  assert.equal(called(), [
    'node dh', 'node dhKeyPair', 'node sign', 'node signingKeyPair', 'wasm isVerifyKey',
  ])
  assert.equal(provider.fallbacks, [])
})

test('loads wasm after some short calls, once, and not for long ones', async () => {
  const { provider, loads } = scene()
  for (let i = 0; i < 200; i++) provider.seal({ key, nonce, plaintext: new Uint8Array(3_000) })
  for (let i = 0; i < 63; i++) provider.hmacSha256(key, plaintext)
  assert.is(loads(), 0)
  for (let i = 0; i < 10; i++) provider.hmacSha256(key, plaintext)
  assert.is(loads(), 1)
  await provider.warmUp()
  for (let i = 0; i < 200; i++) provider.hmacSha256(key, plaintext)
  await provider.warmUp()
  assert.is(loads(), 1)
})

test('goes on with OpenSSL where wasm cannot be loaded, and tries once', async () => {
  const { provider, called, loads } = scene(async () => { throw new Error('no WebAssembly') })
  await provider.warmUp()
  await provider.warmUp()
  assert.is(loads(), 1)
  assert.equal(provider.fallbacks, [], 'slower is not wrong')
  const ciphertext = provider.seal({ key, nonce, plaintext })
  assert.equal(provider.open({ key, nonce, ciphertext }), plaintext)
  assert.equal(called(), ['node open', 'node seal'])
})

test('does not use a wasm that answers wrongly, and says so', async () => {
  const { provider, called } = scene(async () => ({ ...wasm, hmacSha256: () => new Uint8Array(32) }))
  await provider.warmUp()
  called()
  assert.is(hex(provider.hmacSha256(key, plaintext)), hex(node.hmacSha256(key, plaintext)))
  provider.seal({ key, nonce, plaintext })
  assert.equal(called(), ['node hmacSha256', 'node seal'])
  assert.is(provider.fallbacks.length, 1)
  assert.match(provider.fallbacks[0]!, /^HMAC-SHA-256 .* on the wasm backend; node computes it instead$/)
})

test('is what this process runs', async () => {
  assert.is(crypto.name, 'node')
  await crypto.warmUp()
  assert.equal(crypto.fallbacks, [])
})

// ── In a process of its own ─────────────────────────────────────────────────────────────────

/** Prints what `provider-browser.ts` chose and that it computes. */
const askBrowserProvider = `
  const { provider } = await import('${root}/crypto/provider-browser.ts')
  const keys = provider.signingKeyPair(new Uint8Array(32))
  const message = new Uint8Array(3)
  const signature = provider.sign(keys, message)
  const good = provider.verify({ publicKey: keys.publicKey, message, signature })
  console.log(provider.name, good, provider.fallbacks.length)
`
/** Node strips types with wasm of its own, which has to be loaded before there is none. */
const loadStripper = `await import('${root}/crypto/bytes.ts')\n`
/** What a page meets under a Content-Security-Policy without wasm-unsafe-eval. */
const forbidWasm = `
  const refuse = () => { throw new WebAssembly.CompileError('violates the Content Security Policy') }
  WebAssembly.Module = refuse
  for (const name of ['compile', 'instantiate', 'compileStreaming', 'instantiateStreaming']) {
    WebAssembly[name] = async () => refuse()
  }
`

async function output(args: readonly string[]): Promise<string> {
  const ended = promisify(execFile)(process.execPath, args, { cwd: root })
  const { stdout, stderr } = await ended.catch((error: { stdout: string, stderr: string }) => error)
  return stdout + stderr
}

test('a page gets wasm', async () => {
  assert.is(await output(['--eval', askBrowserProvider, '--input-type=module']), 'wasm true 0\n')
})

test('a page that may not run wasm gets noble, without a word', async () => {
  const evaluated = loadStripper + forbidWasm + askBrowserProvider
  assert.is(await output(['--eval', evaluated, '--input-type=module']), 'noble true 0\n')
})

test('an engine without WebAssembly gets noble, without a word', async () => {
  const evaluated = `${loadStripper} delete globalThis.WebAssembly\n${askBrowserProvider}`
  assert.is(await output(['--eval', evaluated, '--input-type=module']), 'noble true 0\n')
})

test('commands that end at once never load libsodium', async () => {
  const watch = `data:text/javascript,${encodeURIComponent(`
    import { registerHooks } from 'node:module'
    registerHooks({ resolve: (specifier, context, next) => {
      if (specifier.includes('libsodium')) process.stderr.write('LOADED ' + specifier + ' ')
      return next(specifier, context)
    } })
  `)}`
  const cli = resolve(root, 'cli/openim.ts')
  for (const args of [['--help'], ['version'], ['status', '--data', '/nonexistent']]) {
    const said = await output(['--import', watch, cli, ...args])
    assert.not.match(said, /LOADED/, args.join(' '))
    assert.ok(said.length > 0)
  }
  const used = `const { crypto } = await import('${root}/crypto/index.ts'); await crypto.warmUp()`
  assert.match(await output(['--import', watch, '--eval', used, '--input-type=module']), /LOADED/)
})

test.run()
