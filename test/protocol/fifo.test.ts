/** The queue against an array that does the same the slow way. */
import * as assert from 'uvu/assert'
import { Fifo } from '../../protocol/fifo.ts'
import { suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'

const test = suite('protocol/fifo')

test('gives items in their order, whatever its length and however often it ran empty', () => {
  const random = seededRandom('fifo')
  const fifo = new Fifo<number>()
  let model: number[] = []
  let next = 0
  for (let round = 0; round < 2_000; round++) {
    const pushes = randomInteger(random, round % 10 === 0 ? 300 : 3)
    for (let i = 0; i < pushes; i++) {
      fifo.push(next)
      model.push(next++)
    }
    const shifts = randomInteger(random, round % 7 === 0 ? 400 : 4)
    for (let i = 0; i < shifts; i++) {
      assert.is(fifo.peek(), model[0])
      assert.is(fifo.shift(), model.shift())
    }
    assert.is(fifo.length, model.length)
    if (model.length > 0) assert.is(fifo.at(model.length - 1), model.at(-1))
    if (round % 50 === 0) {
      fifo.keep((item) => item % 2 === 0)
      model = model.filter((item) => item % 2 === 0)
    }
  }
})

test.run()
