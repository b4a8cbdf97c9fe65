/**
 * Every wire struct that `protocol/` exports, found by its name (`…Codec`, `…Codecs`), so that a
 * new one is fuzzed the day it is written. Valid inputs are made up by the codecs themselves
 * (invent.ts), decoded and encoded again: the encoding is canonical, byte for byte.
 */
import { globSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { hex } from '../../crypto/bytes.ts'
import { decode, encode } from '../../protocol/codec/struct.ts'
import type { Codec } from '../../protocol/codec/struct.ts'
import { decodeFrame, frameCodecs } from '../../protocol/frame/frame.ts'
import { controlCodecs, decodeControl } from '../../protocol/session/control-frames.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { fuzzDecoder } from './decoder-fuzz.ts'
import { invent } from './invent.ts'

const root = resolve(import.meta.dirname, '../..')
const seed = 'frames 1'
/** Together with the objects (objects.test.ts) above 100,000 cases. */
const casesEach = 1_200
const validEach = 12
const codecFilesMin = 25

/** These end in bytes that they take as they are. */
const takesTheRest = ['controlCodecs.data', 'udpFrameCodecs.padding']

const codecs = await findCodecs()
const test = suite('fuzz/frames', { timeoutMs: 60_000 })

async function findCodecs(): Promise<Map<string, Codec<unknown>>> {
  const found = new Map<string, Codec<unknown>>()
  for (const file of globSync(['protocol/**/*.ts', 'node/messenger/records.ts'], { cwd: root })) {
    const module = await import(join(root, file)) as Record<string, unknown>
    for (const [name, value] of Object.entries(module)) {
      if (/Codec$/.test(name)) found.set(name, value as Codec<unknown>)
      if (!/Codecs$/.test(name)) continue
      for (const [type, { codec }] of Object.entries(value as Record<string, { codec: Codec<unknown> }>)) {
        found.set(`${name}.${type}`, codec)
      }
    }
  }
  return found
}

function validInputs(name: string, codec: Codec<unknown>): Uint8Array[] {
  const random = seededRandom(`${name} ${seed}`)
  return Array.from({ length: validEach }, (_, i) => invent(codec, random, { large: i >= validEach - 2 }))
}

test('finds the codecs', () => {
  assert.ok(codecs.size > codecFilesMin, `only ${codecs.size} codecs found`)
})

for (const [name, codec] of codecs) {
  test(`${name} gives back what it reads, and refuses all else with a code`, () => {
    const valid = validInputs(name, codec)
    for (const bytes of valid) assert.is(hex(encode(codec, decode(codec, bytes))), hex(bytes))
    const outcome = fuzzDecoder({
      name,
      valid,
      decode: (bytes) => decode(codec, bytes),
      seed,
      cases: casesEach,
      selfDelimiting: !takesTheRest.includes(name),
    })
    for (const code of outcome.refusals.keys()) assert.match(code, /^CODEC_/)
  })
}

const unions = [
  { name: 'decodeFrame', codecs: frameCodecs, decode: decodeFrame },
  { name: 'decodeControl', codecs: controlCodecs, decode: decodeControl },
]
for (const union of unions) {
  test(`${union.name} reads every frame behind its type byte, and refuses all else with a code`, () => {
    const valid = Object.entries(union.codecs).map(([type, { code, codec }]) => {
      const body = invent(codec as Codec<unknown>, seededRandom(`${type} ${seed}`), { large: false })
      return new Uint8Array([code, ...body])
    })
    const selfDelimiting = union.codecs !== controlCodecs
    fuzzDecoder({ ...union, valid, seed, cases: 4 * casesEach, selfDelimiting })
  })
}

test.run()
