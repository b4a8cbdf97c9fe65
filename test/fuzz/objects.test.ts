/**
 * Fuzzes signed and sealed objects and pasted texts (objects.ts), and holds that every exported
 * function that takes such bytes is among them.
 */
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { hexDecode } from '../../crypto/bytes.ts'
import { suite } from '../helpers/harness.ts'
import { readSourceTree } from '../helpers/source-tree.ts'
import { fuzzDecoder } from './decoder-fuzz.ts'
import { fuzzedObjects } from './objects.ts'

const root = resolve(import.meta.dirname, '../..')
const seed = 'objects 1'
/** A signature is checked in most of them, so they are slower than bare frames. */
const casesEach = 1_000

/** Take bytes or text, and need no fuzzing of their own. */
const exempt: Readonly<Record<string, string>> = {
  decode: 'is what every codec goes through (frames.test.ts)',
  tryDecode: 'is decode with a result',
  decodeFrame: 'is fuzzed in frames.test.ts',
  decodeControl: 'is fuzzed in frames.test.ts',
  openCard: 'takes a decoded card',
  openBody: 'is one AEAD; SecureSession goes through it',
  openHeader: 'is one AEAD over fixed lengths; SecureSession goes through it',
  openValue: 'is one AEAD',
  openVault: 'takes seconds by design; test/crypto covers its header',
  openRecord: 'takes a decoded record',
  openStreamLink: 'opens a link; its bytes go through NoiseChannel',
}

const corpusPath = resolve(root, 'test/vectors/fuzz-corpus.json')
const corpus = existsSync(corpusPath)
  ? JSON.parse(readFileSync(corpusPath, 'utf8')) as Record<string, string[] | undefined>
  : {}

const test = suite('fuzz/objects', { timeoutMs: 60_000 })
const objects = fuzzedObjects()

for (const object of objects) {
  test(`${object.name}: every answer is a value or a code`, () => {
    fuzzDecoder({ ...object, seed, cases: casesEach, corpus: (corpus[object.name] ?? []).map(hexDecode) })
  })
}

test('no decoder of crypto/ and protocol/ is forgotten', () => {
  const covered = new Set([...objects.flatMap(({ covers }) => covers), ...Object.keys(exempt)])
  const decoderName = /^(?:tryDecode|decode|parse|open|verify|peek|split)|^check\w+(?:Record|Descriptor)$/
  const forgotten: string[] = []
  for (const { path, code } of readSourceTree(root).sources.values()) {
    if (!/^(?:crypto|protocol)\//.test(path)) continue
    for (const [, name] of code.matchAll(/\bexport function (\w+)/g)) {
      if (decoderName.test(name!) && !covered.has(name!)) forgotten.push(`${path}: ${name}`)
    }
  }
  assert.equal(forgotten, [], 'add them to test/fuzz/objects.ts, or to exempt with a reason')
})

test.run()
