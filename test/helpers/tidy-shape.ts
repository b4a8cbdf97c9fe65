/**
 * Rules about the shape of the code base: who may import what, and what goes through ports.
 * Exceptions are tables with a reason each; there are no comments that switch a rule off.
 */
import { lineAt } from './source-tree.ts'
import type { SourceFile } from './source-tree.ts'
import { eachImport, eachSource, inFolder, matches, product } from './tidy-findings.ts'
import type { Finding, Rule } from './tidy-findings.ts'

// ── Layers ──────────────────────────────────────────────────────────────────────────────────

/** A layer imports itself and what stands before it. */
const layers = ['crypto', 'protocol', 'node', 'bridges', 'cli', 'test'] as const

function layerOf(path: string): number {
  return layers.indexOf(path.split('/')[0] as (typeof layers)[number])
}

/** Folders that are rooms: one never imports another. */
const roomParents = ['node', 'bridges']
/** What every room of `node/` may import from outside its room. */
const sharedNodeFiles = ['node/ports.ts']
/** The face of the composed node, not a room of it: it may import what lies in `node/` itself. */
const nodeFaces = ['node/control']

function roomOf(path: string): string | undefined {
  const [parent, room, ...rest] = path.split('/')
  return roomParents.includes(parent!) && rest.length > 0 ? `${parent}/${room}` : undefined
}

const importDirection: Rule = {
  name: 'imports only downwards: crypto ← protocol ← node ← bridges ← cli ← test',
  check: (tree) => eachImport(tree, (file, { target }) => {
    if (target === undefined || layerOf(target) <= layerOf(file.path)) return undefined
    return {
      problem: `imports ${target} from a higher layer`,
      cure: 'take it as a port (protocol/ports.ts, node/ports.ts), or move the shared part down',
    }
  }),
}

const roomsApart: Rule = {
  name: 'keeps the rooms of node/ and the bridges apart',
  check: (tree) => eachImport(tree, (file, { target }) => {
    const room = roomOf(file.path)
    if (room === undefined || target === undefined) return undefined
    const targetRoom = roomOf(target)
    const sameLayer = layerOf(target) === layerOf(file.path)
    const crossesRooms = targetRoom !== undefined && targetRoom !== room && sameLayer
    const climbsOut = targetRoom === undefined && sameLayer && room.startsWith('node/')
      && !sharedNodeFiles.includes(target) && !nodeFaces.includes(room)
    if (!crossesRooms && !climbsOut) return undefined
    return {
      problem: `${room} imports ${target}`,
      cure: 'name what you need in node/ports.ts and let node/openim-node.ts hand it over',
    }
  }),
}

const noCycles: Rule = {
  name: 'has no import cycles, type imports included',
  check(tree) {
    const findings: Finding[] = []
    const state = new Map<string, 'open' | 'done'>()
    const visit = (file: SourceFile, trail: readonly string[]): void => {
      state.set(file.path, 'open')
      for (const { target, line } of file.imports) {
        const next = target === undefined ? undefined : tree.sources.get(target)
        if (next === undefined) continue
        if (state.get(next.path) === 'open') {
          const cycle = [...trail.slice(trail.indexOf(next.path)), next.path].join(' → ')
          findings.push({
            file: file.path, line, problem: `closes the cycle ${cycle}`,
            cure: 'move what both need into a file of its own that imports neither',
          })
        } else if (!state.has(next.path)) {
          visit(next, [...trail, next.path])
        }
      }
      state.set(file.path, 'done')
    }
    for (const file of tree.sources.values()) {
      if (!state.has(file.path)) visit(file, [file.path])
    }
    return findings
  },
}

// ── Packages ────────────────────────────────────────────────────────────────────────────────

/** Where a package may be imported; a package that is not here may not be imported at all. */
const packageHomes: readonly { readonly packages: RegExp, readonly folders: readonly string[] }[] = [
  { packages: /^@noble\//, folders: ['crypto'] },
  { packages: /^libsodium-wrappers$/, folders: ['crypto'] },
  { packages: /^@scure\//, folders: ['crypto', 'protocol'] },
  { packages: /^(libp2p|@libp2p|@chainsafe|@multiformats|multiformats)(\/|$)/, folders: ['node/overlay'] },
  { packages: /^datastore-level$/, folders: ['node/overlay'] },
  { packages: /^(level|classic-level|abstract-level)$/, folders: ['node/storage'] },
  { packages: /^(pg|mysql2(\/promise)?)$/, folders: ['node/storage/sql'] },
  { packages: /^redis$/, folders: ['node/storage'] },
  { packages: /^ws$/, folders: ['node/connectors', 'bridges/xmpp/stream'] },
  { packages: /^saxes$/, folders: ['bridges/xmpp/xml'] },
  { packages: /^pino$/, folders: ['node', 'cli'] },
  { packages: /^(smol-toml|valibot)$/, folders: ['node', 'cli'] },
  { packages: /^(commander|uqr)$/, folders: ['cli'] },
  { packages: /^uvu(\/assert)?$/, folders: [] },
]

const packagesAtHome: Rule = {
  name: 'imports each package in its one home',
  check: (tree) => eachImport(tree, (file, { specifier }) => {
    if (/^(\.|#|node:)/.test(specifier)) return undefined
    const agpl = /^@signalapp\//.test(specifier)
    if (agpl && !inFolder(file.path, ['test/bench'])) {
      const problem = `imports ${specifier}, whose licence would bind ours`
      return { problem, cure: 'leave it to test/bench' }
    }
    if (file.path.startsWith('test/')) return undefined
    const home = packageHomes.find(({ packages }) => packages.test(specifier))
    if (home !== undefined && inFolder(file.path, home.folders)) return undefined
    const where = home === undefined ? 'nowhere yet' : home.folders.join(', ') || 'test'
    return {
      problem: `imports ${specifier}, whose home is ${where}`,
      cure: 'use the port of that home; a new package needs a decision record and a row in packageHomes',
    }
  }),
}

const packagesDeclared: Rule = {
  name: 'declares every package it imports in package.json, with an exact version',
  check(tree) {
    const text = tree.documents.get('package.json')
    if (text === undefined) return []
    type Lists = Record<string, Record<string, string> | undefined>
    const { dependencies = {}, optionalDependencies = {}, devDependencies = {} } = JSON.parse(text) as Lists
    const shipped = { ...dependencies, ...optionalDependencies }
    const findings = eachImport(tree, (file, { specifier }) => {
      if (/^(\.|#|node:)/.test(specifier)) return undefined
      const name = specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/') || '/'
      if (name in shipped || (file.path.startsWith('test/') && name in devDependencies)) return undefined
      return {
        problem: `imports ${name}, which package.json does not list`,
        cure: 'list it with an exact version',
      }
    })
    for (const [name, version] of Object.entries({ ...shipped, ...devDependencies })) {
      if (/^\d+\.\d+\.\d+/.test(version)) continue
      findings.push({
        file: 'package.json',
        line: lineAt(text, text.indexOf(`"${name}"`)),
        problem: `${name} has the version range ${version}`,
        cure: 'pin an exact version, so that every checkout is the same',
      })
    }
    return findings
  },
}

// ── Ports ───────────────────────────────────────────────────────────────────────────────────

const clockCure = 'use the Clock port (protocol/ports.ts)'
const randomCure = 'use the Random port (crypto/random.ts)'

interface Ban {
  /** Of the rows in `homes` that lift it. */
  readonly id: string
  readonly pattern: RegExp
  readonly folders: readonly string[]
  readonly cure: string
}

/** Names that bypass a port, and what to use instead. */
const banned: readonly Ban[] = [
  {
    id: 'time',
    pattern: /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.(?:now|timeOrigin)\b|\bprocess\.hrtime\b/g,
    folders: product,
    cure: clockCure,
  },
  {
    id: 'timers',
    pattern: /\b(?:setTimeout|setInterval|setImmediate)\b|\bprocess\.nextTick\b|\bAbortSignal\.timeout\b/g,
    folders: product,
    cure: clockCure,
  },
  {
    id: 'random',
    pattern: /\bMath\.random\b/g,
    folders: [...product, 'test'],
    cure: `${randomCure}; in tests seededRandom`,
  },
  {
    id: 'random',
    pattern: /\b(?:getRandomValues|randomBytes|randomUUID|randomInt)\b/g,
    folders: product,
    cure: randomCure,
  },
  {
    id: 'subtle',
    pattern: /\bsubtle\b/g,
    folders: product,
    cure: 'use CryptoProvider (crypto/provider.ts): it is synchronous, so runs can be replayed',
  },
  {
    id: 'browser',
    pattern: /\bBuffer\b/g,
    folders: ['crypto', 'protocol'],
    cure: 'use Uint8Array and crypto/bytes.ts: this layer runs in browsers',
  },
  {
    id: 'browser',
    pattern: /(?<![.\w])process\b(?!\s*[:(?])|\brequire\s*\(|\b__dirname\b/g,
    folders: ['crypto', 'protocol'],
    cure: 'take it as an option: this layer runs in browsers',
  },
]

interface Home {
  readonly id: string
  readonly path: string
  readonly reason: string
}

/** The one home of each thing that is banned elsewhere. */
export const homes: readonly Home[] = [
  { id: 'time', path: 'protocol/system-clock.ts', reason: 'is the Clock of production' },
  { id: 'timers', path: 'protocol/system-clock.ts', reason: 'is the Clock of production' },
  {
    id: 'timers', path: 'bridges/xmpp/stream/stream-listener.ts',
    reason: 'the end of the turn again: TLS writes the last words of streams in the next ones',
  },
  {
    id: 'timers', path: 'bridges/xmpp/stream/socket-stream.ts',
    reason: 'one write for all of a turn of the event loop: order, no time',
  },
  { id: 'random', path: 'crypto/random.ts', reason: 'is the Random of production' },
  { id: 'browser', path: 'crypto/provider-node.ts', reason: 'is the Node backend, picked by condition' },
]

function isHome(id: string, path: string): boolean {
  return homes.some((home) => home.id === id && home.path === path)
}

const portsOnly: Rule = {
  name: 'takes time, randomness and cryptography through ports',
  check: (tree) => eachSource(tree, (file) => banned.flatMap(({ id, pattern, folders, cure }) => {
    if (!inFolder(file.path, folders) || isHome(id, file.path)) return []
    return matches(file, pattern, (found) => ({ problem: `uses ${found}`, cure }))
  })),
}

const browserClean: Rule = {
  name: 'keeps crypto/ and protocol/ free of Node built-ins',
  check: (tree) => eachImport(tree, (file, { specifier }) => {
    const applies = inFolder(file.path, ['crypto', 'protocol']) && !isHome('browser', file.path)
    if (!applies || !specifier.startsWith('node:')) return undefined
    return {
      problem: `imports ${specifier}`,
      cure: 'this layer runs in browsers: take it as a port, or move the file to node/',
    }
  }),
}

const providerBehindCondition: Rule = {
  name: 'reaches the crypto backend only through the package condition',
  check: (tree) => eachImport(tree, (file, { specifier, target }) => {
    // The Node backend takes from the reference what Node lacks; tests compare the two.
    const backend = /^crypto\/provider-\w+\.ts$/
    if (file.path.startsWith('test/') || backend.test(file.path)) return undefined
    const direct = target !== undefined && backend.test(target)
    const byCondition = specifier === '#crypto-provider' && file.path !== 'crypto/index.ts'
    if (!direct && !byCondition) return undefined
    return { problem: `imports ${specifier}`, cure: 'import { crypto } from crypto/index.ts' }
  }),
}

export const shapeRules: readonly Rule[] = [
  importDirection, roomsApart, noCycles, packagesAtHome, packagesDeclared, portsOnly, browserClean,
  providerBehindCondition,
]
