/** No two uses of keys and hashes in `crypto/` can meet. */
import { readdirSync, readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { utf8Decode } from '../../crypto/bytes.ts'
import { labels } from '../../crypto/labels.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('crypto/labels')

const texts = Object.entries(labels).map(([name, bytes]) => [name, utf8Decode(bytes)] as const)
const folder = new URL('../../crypto/', import.meta.url)

test('no label is the beginning of another', () => {
  for (const [one, text] of texts) {
    for (const [other, longer] of texts) {
      assert.not.ok(one !== other && longer.startsWith(text), `${one} begins ${other}`)
    }
  }
})

test('every label says what it is of, and its version', () => {
  for (const [, text] of texts) assert.match(text, /^openim [a-z0-9 -]+ v\d+( [a-z0-9 ]+)?$/)
})

test('every label is used, and crypto/ has no other', () => {
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== 'labels.ts')
    .map((file) => ({ file, text: readFileSync(new URL(file, folder), 'utf8') }))
  for (const [name] of texts) {
    assert.ok(sources.some(({ text }) => text.includes(`labels.${name}`)), `nothing uses ${name}`)
  }
  for (const { file, text } of sources) {
    assert.not.match(text.replace(/\/\*\*[\s\S]*?\*\//g, ''), /['"`]openim /, file)
  }
})

test.run()
