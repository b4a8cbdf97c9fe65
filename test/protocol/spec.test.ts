/**
 * docs/protocol.md against the code: every label, code and limit that goes over a wire stands in
 * the specification, and the specification names none that does not exist.
 */
import { readdirSync, readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { frameCodecs } from '../../protocol/frame/frame.ts'
import { limits } from '../../protocol/limits.ts'
import { bodyCodecs } from '../../protocol/message/payload.ts'
import { services } from '../../protocol/service/codes.ts'
import { controlCodecs } from '../../protocol/session/control-frames.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('protocol/spec')

const root = new URL('../../', import.meta.url)
const spec = readFileSync(new URL('docs/protocol.md', root), 'utf8')

/** Code without comments, so that prose about labels does not count as using them. */
function sourceOf(folder: string): string {
  return readdirSync(new URL(folder, root), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => readFileSync(new URL(`${folder}/${path}`, root), 'utf8'))
    .join('\n')
    .replace(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, '')
}
const source = sourceOf('crypto') + sourceOf('protocol')

/** Key derivation and signature labels: lower-case words that end in a version, or name the channel. */
function labelsIn(text: string, quote: string): Set<string> {
  const pattern = new RegExp(`${quote}(openim [a-z0-9-]+(?: [a-z0-9-]+)*)${quote}`, 'g')
  return new Set([...text.matchAll(pattern)].map((match) => match[1]!))
}

test('has every label of the code, and the code every label of the specification', () => {
  const used = labelsIn(source, '\'')
  const specified = labelsIn(spec, '"')
  assert.ok(used.size > 20)
  for (const label of used) assert.ok(specified.has(label), `docs/protocol.md lacks "${label}"`)
  for (const label of specified) assert.ok(used.has(label), `no code uses "${label}"`)
})

test('has every application frame with its code', () => {
  for (const [type, { code }] of Object.entries(frameCodecs)) {
    assert.ok(spec.includes(`| ${code} | ${type} |`), `${code} ${type}`)
  }
})

test('has every session frame with its code', () => {
  for (const [type, { code }] of Object.entries(controlCodecs)) {
    assert.match(spec, new RegExp(`(^|, )${code} ${type}\\b`, 'm'), `${code} ${type}`)
  }
})

test('has every service with its code', () => {
  for (const [name, code] of Object.entries(services)) {
    assert.ok(spec.includes(`| ${code} | ${name} |`), `${code} ${name}`)
  }
})

test('has every body of a message with its tag', () => {
  for (const [type, { tag }] of Object.entries(bodyCodecs)) {
    const words = type.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
    assert.ok(spec.includes(`| ${tag} | ${words} |`), `${tag} ${words}`)
  }
})

test('lists limits with the values they have', () => {
  const rows = [...spec.matchAll(/^\| `(\w+)` \| ([\d,.]+) \|/gm)]
  assert.ok(rows.length > 40)
  for (const [, name, value] of rows) {
    assert.is(Number(value!.replaceAll(',', '')), (limits as Record<string, unknown>)[name!], name)
  }
})

test('every limit named in the text stands in the table', () => {
  const listed = new Set([...spec.matchAll(/^\| `(\w+)` \| [\d,.]+ \|/gm)].map((row) => row[1]))
  for (const [, name] of spec.matchAll(/`([a-z][A-Za-z]+)`/g)) {
    if (name! in limits) assert.ok(listed.has(name), name)
  }
})

test.run()
