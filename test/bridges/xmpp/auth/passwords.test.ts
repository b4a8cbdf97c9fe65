/** How app passwords look, and how those of clients are prepared. */
import * as assert from 'uvu/assert'
import { newPassword, preparePassword } from '../../../../bridges/xmpp/auth/passwords.ts'
import { suite } from '../../../helpers/harness.ts'
import { seededRandom } from '../../../helpers/seeded-random.ts'

const test = suite('bridges/xmpp/auth/passwords')

test('makes passwords of twenty characters that nobody confuses, all of them in use', () => {
  const random = seededRandom('passwords')
  const seen = new Set<string>()
  for (let i = 0; i < 500; i++) {
    const password = newPassword(random)
    assert.match(password, /^(?:[2-9a-km-np-z]{4}-){4}[2-9a-km-np-z]{4}$/)
    for (const character of password.replaceAll('-', '')) seen.add(character)
  }
  // 32 characters are 5 bits each: 100 bits in all.
  assert.is(seen.size, 32)
})

test('is prepared as RFC 8265 says, and its examples come out right', () => {
  assert.is(preparePassword('correct horse battery staple'), 'correct horse battery staple')
  assert.is(preparePassword('Correct Horse Battery Staple'), 'Correct Horse Battery Staple')
  assert.is(preparePassword('πßå'), 'πßå')
  assert.is(preparePassword('Jack of \u2666s'), 'Jack of \u2666s')
  assert.is(preparePassword('foo\u1680bar'), 'foo bar')
  assert.is(preparePassword('e\u0301'), '\u00e9')
  assert.is(preparePassword(''), undefined)
  assert.is(preparePassword('my cat is a \tby'), undefined)
  assert.is(preparePassword('a\u0000b'), undefined)
  assert.is(preparePassword('a\ue000b'), undefined)
})

test.run()
