/**
 * The crypto of this process: one `CryptoProvider`, picked by the `#crypto-provider` condition of
 * package.json (Node: provider-node.ts, everything else: provider-noble.ts).
 *
 * A short known-answer test runs once at load, before anything is sealed: a broken build of a
 * library or of OpenSSL must stop here and not produce ciphertexts that nobody can open, or that
 * everybody can.
 */
import { provider } from '#crypto-provider'
import type { CryptoProvider } from './provider.ts'
import { selfTest } from './self-test.ts'

selfTest(provider)

export const crypto: CryptoProvider = provider
