/** Holds the system's generator and the seeded one to the one suite of the `Random` port. */
import * as assert from 'uvu/assert'
import { hex } from '../../crypto/bytes.ts'
import { jittered, randomFraction, systemRandom } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import { suite } from '../helpers/harness.ts'
import { randomChoice, randomInteger, seededRandom } from '../helpers/seeded-random.ts'

function randomSuite(name: string, random: Random): void {
  const test = suite(`compliance/random ${name}`)

  test('gives exactly as many bytes as asked, also none and very many', () => {
    for (const length of [0, 1, 3, 4, 5, 32, 65_536, 65_537, 200_000]) {
      assert.is(random.bytes(length).length, length)
    }
  })

  test('gives fresh bytes that belong to the caller', () => {
    const first = random.bytes(32)
    const second = random.bytes(32)
    assert.is.not(hex(first), hex(second))
    first.fill(0)
    assert.is.not(hex(second), '00'.repeat(32))
    assert.is(first.byteOffset, 0)
    assert.is(first.buffer.byteLength, 32)
  })

  test('uses every value of a byte about equally, to the end of long requests', () => {
    const counts = new Array<number>(256).fill(0)
    for (const byte of random.bytes(256 * 1_024)) counts[byte]!++
    // 1,024 expected, standard deviation 32: eight of them never happen by chance.
    assert.ok(Math.min(...counts) > 768 && Math.max(...counts) < 1_280, `${Math.min(...counts)}`)
    assert.ok(random.bytes(100_000).subarray(-64).some((byte) => byte !== 0))
  })

  test('fractions lie in [0, 1) around one half, jitter within its spread', () => {
    let sum = 0
    for (let i = 0; i < 10_000; i++) {
      const fraction = randomFraction(random)
      assert.ok(fraction >= 0 && fraction < 1)
      sum += fraction
      const delay = jittered(random, 1_000, 0.2)
      assert.ok(delay >= 800 && delay <= 1_200)
    }
    assert.ok(Math.abs(sum / 10_000 - 0.5) < 0.03)
  })

  test.run()
}

randomSuite('system', systemRandom)
randomSuite('seeded', seededRandom('compliance'))

const seeded = suite('helpers/seeded-random')

seeded('the same seed gives the same bytes for ever', () => {
  assert.is(hex(seededRandom(1).bytes(16)), hex(seededRandom('1').bytes(16)))
  assert.is(hex(seededRandom(1).bytes(16)), '12e4924bb82b08f893acbff8e3bac934')
})

seeded('neighbouring seeds share nothing', () => {
  const seen = new Set(Array.from({ length: 1_000 }, (_, seed) => hex(seededRandom(seed).bytes(8))))
  assert.is(seen.size, 1_000)
})

seeded('integers and choices reach all they may, and nothing else', () => {
  const random = seededRandom('integers')
  const seen = new Set(Array.from({ length: 1_000 }, () => randomInteger(random, 7)))
  assert.equal([...seen].sort(), [0, 1, 2, 3, 4, 5, 6])
  assert.ok(['a', 'b'].includes(randomChoice(random, ['a', 'b'])))
})

seeded.run()
