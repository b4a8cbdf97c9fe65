/**
 * The crypto of this process: one `CryptoProvider`, picked by the `#crypto-provider` condition of
 * package.json (Node: provider-mixed.ts, everything else: provider-browser.ts).
 *
 * Both put every primitive to a known answer while they load (self-test.ts), so whoever imports
 * this has a provider that computes rightly, or none.
 */
import { provider } from '#crypto-provider'
import type { CheckedProvider } from './provider.ts'

export const crypto: CheckedProvider = provider
