/**
 * Both crypto backends side by side in one process: as bare providers, and as two copies of all of
 * `crypto/`, one on each. The second copy comes from a resolve hook: a module that is imported with
 * `?noble` pulls in everything below it with `?noble`, and finds the noble provider.
 */
import { registerHooks } from 'node:module'
import { provider as nobleProvider } from '../../../crypto/provider-noble.ts'
import { provider as nodeProvider } from '../../../crypto/provider-node.ts'
import type { CryptoProvider } from '../../../crypto/provider.ts'

export const backends: readonly CryptoProvider[] = [nobleProvider, nodeProvider]

const cryptoFolder = new URL('../../../crypto/', import.meta.url).href
const mark = '?noble'

registerHooks({
  resolve(specifier, context, nextResolve) {
    if (!context.parentURL?.endsWith(mark)) return nextResolve(specifier, context)
    if (specifier === '#crypto-provider') return nextResolve(`${cryptoFolder}provider-noble.ts${mark}`)
    const resolved = nextResolve(specifier, context)
    return resolved.url.startsWith(cryptoFolder) ? { ...resolved, url: resolved.url + mark } : resolved
  },
})

/** One module of `crypto/`, on the noble backend alone. */
export async function importOnNoble<M>(file: string): Promise<M> {
  return await import(`${cryptoFolder}${file}${mark}`) as M
}
