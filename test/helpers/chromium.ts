/** Debian's Chromium, driven through playwright-core: one browser a file, a fresh profile a page. */
import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'
import { needProgram } from './debian.ts'

export const chromiumPath = await needProgram('chromium')

export async function launchChromium(more: readonly string[] = []): Promise<Browser> {
  // Its sandbox needs user namespaces, which root in a container has not; nothing foreign is loaded.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  return await chromium.launch({ executablePath: chromiumPath!, args: [...args, ...more] })
}

/** A page with storage of its own; what goes wrong in it is collected. */
export async function openPage(browser: Browser, url: string): Promise<{ page: Page, problems: string[] }> {
  const context = await browser.newContext()
  const page = await context.newPage()
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('console', (message) => {
    const isIcon = message.location().url.endsWith('/favicon.ico')
    if (message.type() === 'error' && !isIcon) problems.push(message.text())
  })
  await page.goto(url)
  return { page, problems }
}
