/** Did you mean: near words are offered, far ones are not. */
import * as assert from 'uvu/assert'
import { suggest } from '../../node/suggest.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('node/suggest')
const words = ['listen.tcp', 'limits.peers', 'log.level', 'name']

test('offers the word that is one slip away', () => {
  assert.is(suggest('listen.tpc', words), 'listen.tcp')
  assert.is(suggest('log.levl', words), 'log.level')
  assert.is(suggest('Name', words), 'name')
  assert.is(suggest('mane', words), undefined)
  assert.is(suggest('nmae', words), 'name')
})

test('offers nothing for words that are far from all', () => {
  assert.is(suggest('colour', words), undefined)
  assert.is(suggest('', words), undefined)
  assert.is(suggest('x'.repeat(10_000), words), undefined)
})

test.run()
