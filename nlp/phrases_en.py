"""English wordings of outcomes and deadlines; nlp/phrases.py says how they are read.

A table is text: a heading, below it the pattern, indented; its lines are joined. nlp/phrases.py
says how patterns and guards are read. The heading of a pattern is a label, the family of its score
and the conditions it needs: "own" (the author is the subject), "named" (a word written like a name
follows), "main" (in no relative clause), "short" (it ends a headline), "beside" (an outcome stands
close by), "ending" and "wanted" (the guard of that name is found close by; with "answer", or the
sentence is a short answer).
"""

FRAGMENTS = r"""
adverb
    just|finally|already|also|actually|recently|eventually|ultimately|then|now|both|so|only|simply
    |today|yesterday|immediately|happily|literally|even|still|probably|definitely|totally|jus
    |prolly|really|went ahead and|went out and|in the end|after all|instead|personally|gladly
    |most likely|for sure|gonna be|tonight|tomorrow
i
    (?<![\w'])(?:i|we|(?:my|the) (?:wife|husband|partner|girlfriend|boyfriend) and i)(?:'?ve|'?m
    |'re| have| am| are)?
ill
    (?<![\w'])(?:i'?ll|we'll|i will|we will|ima|imma|i shall)(?: <adverb>){0,2}
going
    going to|gonna|about to|off to
buy
    buy|order|purchase|pre-?order|grab|pick up|snag|book|get|rent|lease
buying
    buying|ordering|purchasing|pre-?ordering|grabbing|snagging|picking up|booking|renting|leasing
    |subscribing to|signing up (?:for|with)|choosing|settling (?:on|for)|opting for
    |switching (?:over )?to|going with
bought
    bought|ordered|purchased|pre-?ordered|booked|snagged
it
    it|one|them|this one|that one|these|those|mine|both|this|that
the
    the|this|that|it|one|those|these|them|your|my
folk
    (?:my|the|our|some|a) (?:\w+ )?(?:famil(?:y|ies)|friends?|flow|group|guys?|girls?|boys?|kids?
    |wife|husband|mom|mum|dad|brother|sister|girlfriend|boyfriend|team|crowd|idea that)|him|her
    |you|me|us|them
day
    today|tonight|tomorrow|tmrw|this (?:morning|afternoon|evening|week|weekend)|right now|now|
    (?:on )?(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)|soon|asap|next (?:week
    |month|payday)|first thing
heart
    (?:heart|gut|emotions?|feelings?|instincts?|honesty|truth|flow|times)
mine
    (?:what i(?:'ve| have)?(?: already)? (?:have|got)|my (?:current|old|existing|present|trusty
    |\w+ for now)|the \w+ (?:that )?i (?:already )?(?:have|own))\b
today
    today|tonight|tomorrow|right now|right away|this week(?:end)?|immediately|in a hurry
    |within (?:the|a|\d|two|three)[\w ]{0,10} (?:days?|hours?|week)
soon
    tomorrow|tonight|this (?:\w{3,6}day|week(?:end)?)|next (?:\w{3,6}day|week)|on (?:mon|tues
    |wednes|thurs|fri|satur|sun)day|in (?:\d{1,2}|a few|two|three|a couple(?: of)?) (?:days?
    |hours?|weeks?)
due
    (?:my|our) (?:trip|flight|wedding|birthday|move|vacation|holidays?|party|exam|event)|
    (?:this |next |the end of (?:the |this )?)?(?:monday|tuesday|wednesday|thursday|friday
    |saturday|sunday|week(?:end)?|month)|tomorrow|tmrw|tonight|today|end of day|eod|noon|christmas
    |xmas|new year'?s?|easter|thanksgiving|halloween|valentine'?s|(?:early |mid |late )?(?:january
    |february|march|april|may|june|july|august|september|october|november|december|jan|feb|aug
    |sept?|oct|nov|dec)|(?:the )?\d{1,2}(?:st|nd|rd|th)
thanks
    thanks?|thank (?:you|u)|thx|tysm|ty|cheers|much appreciated
"""

PATTERNS = r"""
purchased strong own
    \b(?:ended|wound) up (?:just )?(?:<buying>|going for the)\b(?! <folk>\b)
purchased usual own named
    \b(?:ended|wound) up (?:just )?(?:getting|with)\b(?= (?:an?|the|my|two|this|that)\b)
purchased usual own
    \b(?:ended|wound) up (?:just )?getting (?:it|one|this one|that one|the one|mine|both)\b
purchased strong own
    \bpulled the trigger\b
purchased strong own
    \b(?:bit the bullet|caved|gave in)(?: and|,)? (?:just |finally )?(?:<bought>|got|signed up)\b
purchased strong own
    \b(?:just|finally|already|went ahead and|went out and) (?:<bought>)\b
purchased usual own
    \b(?:just|finally|already) (?:paid for|put (?:down )?a deposit (?:on|down)
    |signed (?:up )?with)\b
purchased usual own main
    \brecently (?:<bought>)\b
purchased usual own
    \b(?:just|finally|went ahead and|went out and) (?:got|picked up|grabbed|subscribed to
    |signed up (?:for|with)|switched (?:over )?to) (?:myself |ourselves )?(?:an?|one|the|my|our
    |mine)\b(?![^.,!?\n]{0,25}\b(?:update|upgrade|bite|hang|chance|job|call|e-?mail|message|reply
    |offer|raise|question|idea|cat|dog|puppy|kitten|tattoo|promotion|degree|letter|refund))
    (?= new\b| first\b| \w{0,12}\d|[^\S\n]*[.!,])
purchased usual own
    \bgot (?:myself|ourselves) (?:an?|one|the|some|two)\b
purchased usual own main
    \b(?:<bought>) (?:<it>)\b(?=[^\S\n]*(?:[.!,;)*]|\n|$)| (?:today|yesterday|tonight|last night
    |this|for|anyway|already|now|finally|and|off|on|from amazon|new|used)\b)
purchased weak own main
    \b(?:<bought>) (?:it|one|them|this one|that one)\b
purchased usual own
    \b(?:<bought>|picked up|grabbed) (?:[\w'.-]{1,20} ){1,8}?(?:today|yesterday|tonight|last night
    |this morning|this week(?:end)?|last week(?:end)?)\b
purchased weak own named main
    \b(?:<bought>)\b(?= (?:an?|the|my|our|two|some|[a-z]+ \d))
purchased usual own
    \bwent (?:for|with) (?:it|that one|this one|the one|one of|your)\b
purchased usual own named
    \bwent with\b(?! <folk>\b)(?= (?:the|an?)\b)
purchased weak own named
    \bwent with\b(?! <folk>\b)(?= \w)
purchased usual own named main
    \b(?:settled on|decided on|opted for|chose(?! to\b))\b(?= (?:the|an?|\w+)\b)
purchased usual own
    \b(?:settled|decided) on (?:it|that one|this one|the one)\b
purchased usual own
    \b(?:decided|chose) to go (?:with|for)\b(?! (?:an?|the) (?:walk|run|ride|drive|jog|swim)\b)
purchased strong
    \border(?:'s| is| has been|) (?:placed|confirmed)\b
purchased usual
    \b(?:one|mine|it'?s|they'?re) (?:is |are |now )?(?:already )?(?:on order|ordered)\b
purchased usual own
    \b(?:got|have) (?:one|it|mine|a pair|two) (?:on order|ordered|(?:on|coming in) the (?:way|mail
    |post))\b
purchased usual
    \b(?:can'?t wait|waiting|excited) for (?:it|mine|them|my order|my new \w+) to (?:arrive|ship
    |come in|get here|be delivered|show up)\b
purchased usual own
    \b(?:the |a )?(?:proud |happy |new ){1,2}owner of\b
purchased weak named
    (?<![\w'])(?:i|we)(?:'?ve| have)? (?:<adverb> ){0,3}switched (?:over )?
    (?:from [\w&'.-]{1,20} )?to\b
purchased weak short
    \b(?:ordered|purchased|booked|bought)(?=[^\S\n]?(?:[!.,]|$))
purchased usual own named
    \bgot (?:the|an?)\b[^.,!?\n]{1,40}\b(?:in the end|after all|instead)\b
purchased weak named
    (?<![\w'])(?:i|we)(?:'?ve| have)? (?:<adverb> ){0,3}signed up (?:for|with)\b
deciding strong own
    \b(?:ordering|buying)(?: it| one)? (?:now|right now|today|tonight|tomorrow)\b
deciding usual own
    \bwill (?:go with|order|buy|grab|pick up) (?:it|this one|that one|the)\b
deciding weak named
    (?<![\w'])i'?m (?:<adverb> )?(?:buying|ordering) (?:the|an?)\b
deciding strong
    <ill> (?:be )?(?:go(?:ing)?) with\b(?! (?:<folk>|what\w*|whichever\w*)\b| my (?:<heart>)\b)
deciding strong own
    \b(?:<going>) go with\b(?! (?:<folk>|what\w*|whichever\w*)\b| (?:my|the) (?:<heart>)\b)
deciding usual own
    \b(?:go|going) with (?:it|one|this|this one|that one|the one|these|those|them)\b
deciding usual own
    \bgoing with the (?:first|second|third|other|cheaper|smaller|bigger|latter|former)\b
deciding usual own named
    \b(?:<going>) get (?:the|that|those)\b
deciding usual own named
    \bgo(?:ing)? with\b(?! (?:<folk>|what\w*|whichever\w*)\b| (?:my|the) (?:<heart>)\b)
deciding usual
    <ill> (?:go ahead and )?(?:order|buy|grab|purchase|pick up) (?:one|that one|this one|them|it
    |the one|mine|your suggestion)\b(?! from here| in (?:the|[a-z]{3,})| to (?:you|the)| apart
    | into| back| out| off| slow| easy| up\b)
deciding usual
    <ill> (?:go ahead and )?(?:take|get|be (?:buying|ordering|getting)) (?:that one|this one
    |the one|it|mine)\b(?=[^\S\n]*(?:[.!,]|\n|$)| (?:today|tonight|tomorrow|then|now|this|thanks))
deciding usual named
    <ill> (?:go ahead and )?(?:order|buy|grab|purchase|pick up|be (?:buying|ordering|getting
    |grabbing|picking up)|sign up (?:for|with)|switch to|get(?= (?:the|an?|that|this
    |another)\b))\b(?!(?: it| them)? in\b| the (?:parts|rest|components)\b)
deciding usual own
    \b(?:<going>) (?:go ahead and )?(?:order|buy|grab|purchase|pick up|get|book
    |pull the trigger on) (?:it|that one|this one|them|these|those|mine)\b(?! (?:to|out|done|over
    |off|right|fixed|back|up|all|some|day)\b)
deciding usual own
    \babout to pull the trigger\b
deciding usual own named
    \b(?:<going>) (?:go ahead and )?(?:order|buy|grab|purchase|pick up|book|sign up (?:for|with)
    |switch to)\b(?= (?:the|an?|that|this|some|\w+)\b)(?! in\b)
deciding strong own
    \b(?:ordering|buying|picking up|grabbing|purchasing) (?:it|one|them|mine|this one|that one
    |the [\w'.-]{1,20}|this|that) (?:<day>)\b
deciding usual own
    \bpulling the trigger\b
deciding usual
    (?<![\w'])(?:i'?m|i am|we're|consider me|colou?r me) (?:so |officially |totally )?sold
    (?= on (?:it|the|this|that)\b|[^\S\n]?[.!])
deciding usual
    \b(?:you|u|you guys|you all|y'?all|this thread|everyone)(?:'?ve| have)?(?: all
    | just)? (?:convinced|sold|persuaded) me\b(?! (?:that|not|out|to not|never|to (?!buy|get|order
    |go)))
deciding weak short
    \bit is(?: then)?(?=[^\S\n]?(?:[!.,]|$))
deciding weak own
    \bmade up my mind\b|\b(?:my )?mind(?: is|'s) made up\b
deciding usual own
    \bdecided to (?:buy|get|order|purchase|switch to|pick up) (?:it|this one|that one|them)\b
deciding usual own named
    \bdecided to (?:buy|get|order|purchase|switch to|pick up)\b(?= (?:the|an?|\w+)\b)
deciding usual own
    \b(?:adding|added) (?:it|one|this|them) to (?:my |the )?(?:cart|basket)\b
none usual
    \b(?:convinced|persuaded|talked) me (?:to not|not to|out of) (?:buy|get|order|upgrad|purchas
    |bother|it\b)
none usual own
    \b(?:decided|chose|choosing|going) to (?:stick|stay) with (?:<mine>)
none usual
    (?<![\w'])(?:i|we) (?:won'?t|will not) be (?:buying|getting|ordering) (?:one|any|it
    |anything)\b
none weak own
    \bdecided against it\b(?! for)
none strong own
    \bdecided (?:not to (?:buy|get|order|purchase|upgrade|switch|bother|renew|replace|go (?:with
    |for))|against (?:buying|getting|ordering|the|an?|any|upgrading|switching|this|that))\b
none strong own
    \b(?:ended|wound) up (?:not (?:buying|getting|ordering|going (?:with|for)|upgrading|switching)
    |(?:buying|getting|ordering) (?:nothing|none|neither))\b
none strong
    (?<![\w'])(?:i|we) (?:didn'?t|never) end(?:ed)? up (?:buying|getting|ordering|choosing
    |going with|upgrading|switching)\b
none usual own
    \bnot (?:going to |gonna )?(?:be )?(?:buy(?:ing)?|get(?:ting)?|order(?:ing)?|purchas(?:e|ing)
    |upgrad(?:e|ing)|switch(?:ing)?) (?:(?:it|one|any|anything|them|either|this|that
    |[\w-]{1,20}) )?(?:after all|any ?more|for now|right now|this (?:year|time))\b
none usual own
    \bnot (?:going to |gonna )?(?:be )?buy(?:ing)? (?:one|any|anything|either)\b
none usual own
    \b(?:sticking|stick|staying|stay) with (?:<mine>)
none usual
    <ill> (?:stick|stay|keep) (?:with |using )?(?:<mine>)
none usual own
    \b(?:gave|given|giving) up (?:on )?(?:the idea of )?(?:buying|finding|looking for|searching
    |getting|shopping)\b
none usual own
    \bno longer (?:looking|in the market|interested in (?:buying|getting)|need(?:ing)? (?:one|it|a
    |to buy))\b
none usual own
    \b(?:talked (?:myself|me) out of|(?:changed my mind|decided to hold off|holding off
    |backed out of)(?: on| about)? (?:buying|getting|ordering|upgrading|it|the purchase))\b
none weak
    <ill> (?:have to )?pass(?= on (?:it|this|that|the)\b|[^\S\n]?(?:[.!]|$))
thanks usual beside
    \b(?:<thanks>)\b(?! in advance| to anyone| if\b| for any\b|[^.!?\n]{0,40}\b(?:in advance
    |ahead of time)\b)
thanks weak ending
    \b(?:<thanks>)\b(?! in advance| to anyone| if\b| for any\b|[^.!?\n]{0,40}\b(?:in advance
    |ahead of time)\b)
thanks strong
    \b(?:<thanks>)\b[^.!?\n]{0,30}[,.!]? (?:that'?s |it'?s |problem |all |issue |now )*(?:sorted
    |solved|just what i (?:needed|wanted)|exactly what i (?:needed|wanted|was (?:looking
    |asking) for))\b
deadline strong
    \b(?:need|needs|want|(?:have to|must) (?:get|buy|order|decide|choose|find|have)|should arrive
    |has to (?:be|arrive)|get it|get one|(?:buy|order) (?:it|one|them|everything|this)|delivered
    |decide|choose)\b(?: [\w'-]{1,15}){0,4} (?:by|before|in time for|no later than) (?:<due>)\b
deadline usual
    (?:(?<![\w'])(?:i|we)(?:'?ll|'?d|'?ve| will| would| do)?(?: <adverb>){0,2}|(?:^
    |[.!?\n,;-]) ?) ?(?:need|have to (?:buy|get|find|order|choose|decide)|must (?:buy|get|find
    |order|choose))\b(?! to be\b)(?: [\w'-]{1,15}){0,6} (?:<today>)\b
deadline usual
    \bwant (?:it|one|them|to (?:buy|order|get) (?:it|one|them))
    (?: [\w'-]{1,15}){0,2} (?:<today>)\b
deadline usual wanted answer
    (?<!shipped\s)\b(?:asap|as soon as possible|urgent(?:ly)?(?! (?:questions?|problems?|care
    |matters?|issues?|need))|time[- ]sensitive|in a (?:real )?(?:rush|hurry)|running out of time
    |last[- ]minute|on (?:a )?(?:tight|short) deadline|on short notice)\b
deadline usual
    \b(?:i'?m|we're|we are|i am|i|we) (?:leav(?:e(?! work)|ing)|fly(?:ing)?|mov(?:e|ing)|travel
    (?:l?ing)?)\b(?! (?:my|this|the) (?:\w+ )?(?:job|role|company|position))
    (?: [\w'-]{1,15}){0,3} (?:<soon>)\b
deadline usual
    \b(?:trip|wedding|birthday|party|event|concert|flight) is(?: [\w'-]{1,15}){0,2} (?:<soon>)\b
deadline usual
    \b(?:sale|offer|lease|contract|deal|discount) (?:ends|expires)(?: [\w'-]{1,15}){0,2} (?:<soon>
    |today)\b
"""

GUARDS = r"""
subject
    <i>(?: <adverb>){0,3} $
dropped
    (?:^|[,;:()*>~-] ?|\b(?:and|so|but|edit|update|then|yes|yeah|yep|ok|okay|well|anyway|lol|op
    |finally|just|who) )(?:[^\w\n]{0,4})(?:<adverb> ){0,3}$
short
    \W*(?!.{0,80}\b(?:i|he|she|they|you|we|what|how|as|that|like|is|are|was|be|been|being|where
    |which|have|has|had|get|got|not|never|who|when|why|think|to|were|can|if|than|because|whatever
    |here|there|this|so|nor|no|yes|every|everything|all|sure|case|yeah|yep|ok|okay|indeed|still
    |only)\b)(?:[\w'.+-]{1,20} ){1,4}
other
    (?<!thanks\s)(?<!thank\s)(?<!to\s)(?<!for\s)\b(?:he|she|they|you|u|who|which|someone|somebody
    |people|everyone|anyone|guy|(?:my|his|her|their|our|the|a|an|some) (?:[\w-]+ ){0,2}(?:brother
    |sister|mom|mum|mother|dad|father|wife|husband|friend|buddy|owner|boss|neighbou?r|son|daughter
    |cousin|uncle|aunt|roommate|colleague|coworker|boyfriend|girlfriend|partner|parents|company
    |office|kids?|guy|customer|client|seller|store|shop))s?\b(?!.{0,300}\b(?:i|we|i'?ve|i'?m|we've
    |my wife and i)\b)
negated
    \b(?:not|never|n't|almost|nearly|hardly|without|isn'?t|aren'?t|don'?t|didn'?t|haven'?t
    |instead of|nothing|no)(?: [\w']{1,12}){0,2} $
relative
    \b(?:the|an?|any|all|every|each|my|these|those|which|what|only|one|ones|some|few|things?
    |stuff)(?: (?!end|meantime|other|weekend|morning|past|thanks|so|and|but|then)[\w'-]+){0,3} <i>
    (?: <adverb>){0,3} $
unsure
    \b(?:if|unless|whether|can|should|could|would|might|maybe|perhaps|wish|wished|wishing|suppose
    |imagine|when|whenever|once|until|before|after|since|considering|thinking (?:of|about)|tempted
    |debating|not sure|unsure|dont know|don't know|no idea|wonder(?:ing)?|used to|was|were|why|how
    |said|says|told|claims?|hope|hoping|want to|wanted to|planned|planning|dreamt|dreamed|pretend
    |like|as though|lyrics|every time)\b
conditional
    \b(?:if|unless|whether|once|when|whenever|until|depending|maybe|perhaps|might|or|soon|later
    |can'?t decide|should|assuming|some ?day|one day|eventually|not sure|dont know|don't know
    |in a few (?:months|years)|next year)\b
past
    \b(?:years?|yrs?|months?|decades?) (?:ago|back)\b|\blast (?:year|summer|winter|spring|fall
    |christmas|month)\b|\bback (?:in|when)\b|\bin (?:19|20)\d\d\b|\b(?:long|some) (?:time
    |while) (?:ago|back)\b|\ba while (?:ago|back)\b|\bused to\b|\bwhen [^.?!,\n]{1,30} (?:came out
    |released|launched|announced)\b|\bwhen i (?:was|were|first)\b|\boriginally\b|\bas a (?:kid
    |child|teen)\b|\bonce upon\b|\bthe (?:first|last) time\b|\bhad (?:bought|ordered)\b
    |\bfor (?:\d+|two|three|many|several) years\b
joking
    (?<![\w/])/s\b|\b(?:just kidding|jk|kidding|yeah right|as if|in my dreams|i wish
    |not)\b[^\S\n]*(?:[.!)]|$)
ending
    \b(?:sorted|problem solved|all set|(?:exactly|just) what i (?:needed|wanted|was (?:looking
    |asking) for)|found (?:it|one|what i)|made my (?:decision|choice)|that settles it|you(?:'ve
    | have|) (?:all )?(?:helped|been (?:very |so |super )?helpful)|helped me (?:decide|choose
    |pick)|got (?:it|one|what i needed)|no longer (?:need|looking))\b
wanted
    \b(?:need|needs|looking for|buy(?:ing)?|order(?:ing)?|recommend\w*|suggest\w*|any(?:one|body)
    |replace)\b
stop
     (?:because|cause|cuz|since|instead|over|rather|but|although|though|which|who|while|so|after
    |before|where|when|even|despite|due|thanks|vs|if|for (?:now|the time|\$?\d)|as (?:it|they|my
    |i)|and (?:i|it|so|am|we|the))\b
"""
