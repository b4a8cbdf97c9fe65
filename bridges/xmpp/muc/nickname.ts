/**
 * Nicknames of rooms: the PRECIS profile Nickname (RFC 8266). Two nicks are the same person's to the
 * eye when their keys are equal, so a room gives a key to one occupant only.
 *
 * The profile compares after `toLowerCase`, which keeps apart what people take for the same letters
 * (`ß` and `ss`, `ſ` and `s`, `ς` and `σ`): the key folds by upper case first. Look-alikes of different
 * scripts are not caught: RFC 8266 §6 says why no table of them is enough.
 */
import { xmppLimits } from '../limits.ts'

/** PRECIS FreeformClass (RFC 8264 §4.3) without what is not seen. */
const notFreeform = /[\p{Cc}\p{Cs}\p{Cn}\p{Co}\p{Default_Ignorable_Code_Point}]/u

/** As it is shown (RFC 8266 §2.3); `undefined`: it is none. */
export function prepareNick(given: string): string | undefined {
  const nick = given.replace(/\p{Zs}+/gu, ' ').trim().normalize('NFKC')
  // NFKC of some letters begins with a space.
  const prepared = nick.replace(/ +/g, ' ').trim()
  if (prepared === '' || notFreeform.test(prepared)) return undefined
  return Buffer.byteLength(prepared) > xmppLimits.roomNickBytesMax ? undefined : prepared
}

/** Equal for nicks that differ in case or width alone. Each letter by itself: `Σ` at an end is `ς`. */
export function nickKey(nick: string): string {
  const upper = nick.normalize('NFKC').toUpperCase().normalize('NFKC')
  return [...upper].map((letter) => letter.toLowerCase()).join('').normalize('NFKC')
}
