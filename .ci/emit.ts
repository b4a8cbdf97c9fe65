/**
 * Writes openIM as a package for other projects, JavaScript with types, because Node strips no types
 * below `node_modules`:
 *
 * ```text
 *   npm run emit -- DIR        DIR/{crypto,protocol,node,bridges,cli}/**.{js,d.ts}, package.json, LICENSE
 *   npm install DIR            in the other project; then `import … from 'openim/client'`
 * ```
 *
 * A checkout never needs it. Its exit code is the compiler's.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

type Json = string | number | boolean | null | Json[] | { [key: string]: Json }

/** What a package says of itself; scripts, tools and locks are the checkout's. */
const kept = [
  'name', 'version', 'description', 'license', 'type', 'engines', 'bin', 'imports', 'exports',
  'dependencies', 'optionalDependencies',
]
const root = resolve(import.meta.dirname, '..')
const [target = 'dist'] = process.argv.slice(2)
const directory = resolve(target)

mkdirSync(directory, { recursive: true })
const args = ['-p', import.meta.dirname, '--outDir', directory, '--pretty', 'false']
const { status } = spawnSync(join(root, 'node_modules/.bin/tsc'), args, { stdio: 'inherit' })
const source = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, Json>
const published = Object.fromEntries(kept.map((key) => [key, emitted(source[key] ?? {})]))
writeFileSync(join(directory, 'package.json'), `${JSON.stringify(published, undefined, 2)}\n`)
copyFileSync(join(root, 'LICENSE'), join(directory, 'LICENSE'))
process.exitCode = status ?? 1

/** The same with `.js` where a path ends in `.ts`. */
function emitted(value: Json): Json {
  if (typeof value === 'string') return value.replace(/^(\.\/.*)\.ts$/, '$1.js')
  if (Array.isArray(value)) return value.map(emitted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, emitted(inner)]))
}
