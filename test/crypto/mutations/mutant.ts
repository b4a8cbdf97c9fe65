/**
 * Preloaded (`node --import`) by mutations.test.ts into the process of one test file: gives one
 * module to the loader with one piece of its text replaced. The tree stays as it is.
 *
 * `OPENIM_MUTANT` is JSON: the module's path from the project's root, the text, and its replacement.
 */
import { registerHooks } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

export interface Mutant {
  readonly file: string
  readonly from: string
  readonly to: string
}

const root = resolve(import.meta.dirname, '../../..')
const mutant = JSON.parse(process.env['OPENIM_MUTANT'] ?? 'null') as Mutant | null
const url = mutant && pathToFileURL(resolve(root, mutant.file)).href

registerHooks({
  load(loading, context, nextLoad) {
    const loaded = nextLoad(loading, context)
    // The noble copy of a module (support/backends.ts) is the same module.
    if (mutant === null || loading.replace(/\?.*$/, '') !== url) return loaded
    const { source } = loaded
    const text = typeof source === 'string' ? source : new TextDecoder().decode(source as Uint8Array)
    return { ...loaded, source: text.replace(mutant.from, () => mutant.to) }
  },
})
