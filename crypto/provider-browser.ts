/**
 * What a browser runs: libsodium in WebAssembly, 8 to 15 times faster than JavaScript where it
 * counts and closer to constant time; and noble where WebAssembly is missing or a
 * Content-Security-Policy without `wasm-unsafe-eval` forbids it, without anybody having to know.
 *
 * It loads before anything else runs (top-level await), so the provider stays synchronous.
 */
import type { CheckedProvider, CryptoProvider } from './provider.ts'
import { provider as noble } from './provider-noble.ts'
import { heldToAnswers } from './self-test.ts'

async function fastest(): Promise<CryptoProvider> {
  try {
    return (await import('./provider-wasm.ts')).provider
  } catch {
    return noble
  }
}

const { crypto, fallbacks } = heldToAnswers(await fastest(), noble)

export const provider: CheckedProvider = {
  ...crypto,
  fallbacks,
  warmUp: () => Promise.resolve(),
}
