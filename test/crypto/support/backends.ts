/**
 * All crypto backends side by side in one process: as bare providers, and as copies of all of
 * `crypto/`, one on each. A copy comes from a resolve hook: a module that is imported with `?noble`
 * pulls in everything below it with `?noble`, and finds the noble provider.
 */
import { registerHooks } from 'node:module'
import { provider as nobleProvider } from '../../../crypto/provider-noble.ts'
import { provider as nodeProvider } from '../../../crypto/provider-node.ts'
import { provider as wasmProvider } from '../../../crypto/provider-wasm.ts'
import type { CryptoProvider } from '../../../crypto/provider.ts'

export type BackendName = CryptoProvider['name']

/** The reference first. */
export const backends: readonly CryptoProvider[] = [nobleProvider, nodeProvider, wasmProvider]

const cryptoFolder = new URL('../../../crypto/', import.meta.url).href
const protocolFolder = new URL('../../../protocol/', import.meta.url).href

registerHooks({
  resolve(specifier, context, nextResolve) {
    const name = /\?(noble|node|wasm)$/.exec(context.parentURL ?? '')?.[1]
    if (name === undefined) return nextResolve(specifier, context)
    if (specifier === '#crypto-provider') return nextResolve(`${cryptoFolder}provider-${name}.ts?${name}`)
    const resolved = nextResolve(specifier, context)
    const isOurs = resolved.url.startsWith(cryptoFolder) || resolved.url.startsWith(protocolFolder)
    return isOurs ? { ...resolved, url: `${resolved.url}?${name}` } : resolved
  },
})

/** One module, by its path from `crypto/`, on one backend alone. */
export async function importOn<M>(name: BackendName, file: string): Promise<M> {
  return await import(`${cryptoFolder}${file}?${name}`) as M
}

export async function importOnNoble<M>(file: string): Promise<M> {
  return await importOn('noble', file)
}
