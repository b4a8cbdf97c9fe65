/**
 * What Node runs: OpenSSL (provider-node.ts), and libsodium's wasm (provider-wasm.ts) for short
 * inputs of symmetric ciphers and HMAC and for the check of imported Ed25519 keys.
 *
 * OpenSSL computes faster, but a call into `node:crypto` costs 3–6 µs whatever it does; a call into
 * wasm costs a tenth of that. Measured on Node 24.21 (thousand calls a second, OpenSSL : wasm):
 *
 * ```text
 *                     64 B        300 B       1 KiB       2 KiB       4 KiB
 *   AEAD seal      180 : 1,020   150 : 530   126 : 270   111 : 164   115 :  84
 *   AEAD open      210 : 1,470   193 : 480   180 : 250   158 : 163   148 :  82
 *   XChaCha seal   130 :   800                           56 : 147    55 :  80
 *   HMAC-SHA-256   280 :   650   270 : 460   243 : 210
 *   key check      1.2 : 10.5 (noble : wasm)
 * ```
 *
 * Loading libsodium takes some 15 ms and 5 MB, so it waits until a process has shown that it does
 * this kind of work: `openim --help` and `openim status` never pay. Until it is there, and where
 * there is no WebAssembly, OpenSSL does all of it. Both give the same bytes, so it does not matter
 * when the change happens.
 */
import type { CheckedProvider, CryptoProvider } from './provider.ts'
import { provider as noble } from './provider-noble.ts'
import { provider as node } from './provider-node.ts'
import { fallbackText, heldToAnswers, wrongAnswers } from './self-test.ts'

/** Up to here wasm seals and opens faster; text, not counting associated data. */
const aeadBytesMax = 2_048
/** Higher, because natively HChaCha20 is JavaScript. */
const xchachaBytesMax = 4_096
const hmacBytesMax = 512
/** After so many calls that wasm would do faster it is loaded: who does this many does more. */
const callsBeforeLoading = 64
/** A key check costs as much as 200 of the others. */
const keyCheckWeight = 16

const shortMethods = ['seal', 'open', 'sealX', 'openX', 'hmacSha256', 'isVerifyKey'] as const

/** `large`, and for short inputs what `loadShort` gives, once it is there and gives known answers. */
export function mixed(options: {
  large: CryptoProvider
  fallbacks: readonly string[]
  loadShort: () => Promise<CryptoProvider>
}): CheckedProvider {
  const { large, loadShort } = options
  const fallbacks = [...options.fallbacks]
  let short: CryptoProvider | undefined
  let callsLeft = callsBeforeLoading
  let loading: Promise<void> | undefined

  const load = async (): Promise<void> => {
    let loaded: CryptoProvider
    try {
      loaded = await loadShort()
    } catch {
      // No WebAssembly here: slower, not wrong.
      return
    }
    const wrong = wrongAnswers(loaded, shortMethods)
    if (wrong.length === 0) short = loaded
    fallbacks.push(...wrong.map((name) => fallbackText({ primitive: name, backend: loaded, instead: large })))
  }
  const warmUp = (): Promise<void> => (loading ??= load())
  const forShort = (weight = 1): CryptoProvider => {
    if (short !== undefined) return short
    if (loading === undefined) {
      callsLeft -= weight
      if (callsLeft <= 0) void warmUp()
    }
    return large
  }
  const upTo = (bytesMax: number, input: Uint8Array): CryptoProvider =>
    (input.length <= bytesMax ? forShort() : large)

  return {
    ...large,
    fallbacks,
    warmUp,
    hmacSha256: (key, data) => upTo(hmacBytesMax, data).hmacSha256(key, data),
    seal: (input) => upTo(aeadBytesMax, input.plaintext).seal(input),
    open: (input) => upTo(aeadBytesMax, input.ciphertext).open(input),
    sealX: (input) => upTo(xchachaBytesMax, input.plaintext).sealX(input),
    openX: (input) => upTo(xchachaBytesMax, input.ciphertext).openX(input),
    isVerifyKey: (publicKey) => forShort(keyCheckWeight).isVerifyKey(publicKey),
  }
}

const { crypto: large, fallbacks } = heldToAnswers(node, noble)

export const provider: CheckedProvider = mixed({
  large,
  fallbacks,
  loadShort: async () => (await import('./provider-wasm.ts')).provider,
})
