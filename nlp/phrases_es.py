"""Spanish wordings (Spain, Mexico, the Andes, the Southern Cone) of outcomes and deadlines.

Laid out as nlp/phrases_en.py. A lowercase accented vowel also matches without its accent; an
uppercase one ("É") must be written with it, where the form without has another subject or mood:
"compré" is the author, "compre" may be advice.
"""

FRAGMENTS = r"""
clitic
    me l[oa]s?|nos l[oa]s?|se l[oa]s?|me|nos|l[oa]s?|te
adverb
    al final|al fin|por fin|finalmente|ya|recién|recien|justo|también|igual|hoy|ayer|anoche|antier
    |antes de ayer|anteayer|esta mañana|entonces|solo|sólo|nomás|así que|ahora|mejor|al toque
    |directamente|definitivamente|mañana|ahorita|de una|pues|nada
final
    al final|al fin|por fin|x fin|finalmente|ya(?: por fin)?|recién|anoche|ayer|hoy|esta mañana
    |antier|esta semana|este finde|total que|hace (?:un rato|unas horas|unos días|poco|una hora)
comprÉ
    comprÉ|encarguÉ|contratÉ|ordenÉ|reservÉ|agarrÉ|pillÉ|adquirÍ|pedÍ
compre
    compré|encargué|contraté|ordené|reservé|agarré|pillé|adquirí|pedí(?! (?:la )?(?:salida|baja
    |cita|ayuda)| (?:el )?favor)|cogí|aparté|pagué (?:el|la|los|las)|hice el pedido
compramos
    compramos|encargamos|contratamos|pedimos|reservamos|pillamos
comprado
    comprado|pedido|encargado|contratado|pillado|reservado|adquirido|ordenado|cogido
comprar
    comprar|pedir|encargar|contratar|pillar|reservar|adquirir|ordenar
comprando
    comprando|pidiendo|encargando|contratando|pillando|cogiendo|agarrando|eligiendo|llevando
    |sacando|reservando|adquiriendo
el
    el|la|los|las|un|una|uno|otro|otra|ese|esa|este|esta|aquel|mi|nuestro|nuestra|dos|tres
este
    el|la|los|las|ese|esa|este|esta|esos|esas|estos|estas|uno|una|lo que
cuando
    hoy(?: mismo)?|mañana(?: mismo)?|ya(?: mismo)?|ahora(?: mismo)?|ahorita|esta (?:noche|tarde
    |semana|quincena)|este (?:finde|fin de semana|viernes|sábado|domingo|lunes|mes)|el (?:lunes
    |martes|miércoles|jueves|viernes|sábado|domingo)|al toque|de una|entonces|en la quincena
    |pasado mañana|apenas cobre
tengo
    l[oa]s? (?:que|q) (?:ya )?(?:tengo|tenía|tenemos|uso)|mi (?:viej[oa]|actual|antigu[oa]
    |\w+ (?:viej[oa]|actual|antigu[oa]|de siempre))|lo que (?:ya )?(?:tengo|hay)|l[oa] mí[oa]
    |l[oa]s? (?:viej[oa]s?|de siempre|actual)
ganas
    (?:las? |los? |el |un |una |est[aeo]s? |es[aeo]s? )?(?:ganas?|espin\w+|mí[oa]s|dudas?|boca
    |sensación|idea|impresión|parte|frase|imagen|cara|curiosidad|pena|recuerdo|consuelo|momento
    |mínimo|culo|corazón|alma|brazos|vuelto|cambio|dinero|plata|vida|bueno|primera parte|casa
    |camino|ellos|ella|él|ustedes|vosotros|mamá|mi mamá|mis? \w+|todo|nada|lo bueno|lo mejor
    |gusto)
dia
    (?:lunes|martes|miércoles|jueves|viernes|sábado|domingo|finde|fin de semana|(?:día )?\d{1,2}
    |fin de mes|fin de año|próxim[oa] \w+|navidad(?:es)?|reyes|nochebuena|quincena|semana santa
    |verano|viaje|cumple(?:años)?|boda|mes)
suyo
    (?:es[ae]s?|est[ae]s?|el|la|los|las)(?:(?=[^\S\n]*(?:[.!,]|\n|$))| (?=entonces|gracias
    |al final|sin duda)| (?:de|del|segunda opción|primera opción|opción|otro|otra) (?=\w))
    (?! (?:la )?(?:vida|mañana|tarde|noche|primera temporada|siempre))
necesito
    necesit(?:o|amos|aría)|ocupo|ocupamos|busco|buscamos|preciso|requiero|requerimos|hace falta
    |tengo que (?:comprar|elegir|decidir)|comprarl[oa]|que (?:me )?lleguen?
pronto
    hoy|mañana|pasado mañana|(?:el|este) (?:lunes|martes|miércoles|jueves|viernes|sábado|domingo)
    |esta semana|este (?:finde|fin de semana)|la (?:próxima semana|otra semana|semana que viene)
    |en (?:unos|pocos|dos|tres|\d{1,2}) (?:días|horas|semanas)|dentro de (?:poco|\w{1,5} días)
gracias
    (?:mil |muchas |muchísimas |mchas |infinitas )?gracias|gracia?s|grax|thx|se agradece|
    (?:un )?millón de gracias
"""

PATTERNS = r"""
purchased strong own
    \b(?:<final>),? (?:(?:<clitic>) )?(?:<compre>|<compramos>)\b(?! (?:la atención|la cabeza
    |la cuenta|perdón|disculpas?|que|de nuevo|ayuda|permiso|cita|(?:la )?salida|(?:la )?baja
    |el favor|vacaciones|el día|libre|turno))
purchased strong own
    \b(?:(?:<final>),? (?:me )?|me )saqué (?:(?:el|la|un|una|mi|los|las|otro|otra) )?(?:pasajes?
    |boletos?|entradas?|ticket\w*|plan|línea|crédito|inscripción|celular|cel|tele|moto|abono
    |seguro)\b
purchased strong own
    \b(?:<final>),? (?:(?:<clitic>) )?(?:elegí|escogí|opté por|me decanté por|me decidí por
    |me fui (?:por|con|a por) <este>|me incliné por|me hice con|me quedé con)\b(?! (?:<ganas>
    |<tengo>|que|qué)\b)
purchased strong own
    \bacab(?:o|amos) de (?:comprar|pedir|encargar|contratar|reservar|adquirir|pillar)(?:me|nos)?
    (?:l[oa]s?)?\b(?! (?:perdón|disculpas?|ayuda|información|que|explicaciones|una cita|cita
    |un taxi|uber|comida))
purchased strong own
    \b(?:(?:me|nos|l[oa]s?) )?(?:terminé|acabé|terminamos|acabamos) (?:<comprando>|yendo (?:por
    |con|a por)|quedándo(?:me|nos) con|decidiéndo(?:me|nos) por|optando por|decantándo(?:me
    |nos) por)(?:me|nos)?(?:l[oa]s?)?\b
purchased strong own
    \b(?:me|nos) decantÉ por\b|\b(?:me|nos) (?:decanté|decantamos) por <el>\b
purchased usual own main
    \b(?:me|nos) (?:l[oa]s? )?(?:comprÉ|encarguÉ|pillÉ|pedÍ|agarrÉ|llevÉ)\b(?! (?:un susto
    |una sorpresa|la sorpresa|una decepción|un chasco|el susto|la cuenta))
purchased usual own main
    (?<!se\s)(?<!te\s)(?<!les\s)(?<!os\s)\bl[oa]s? (?:<comprÉ>|pedi|(?:compré|encargué)(?= (?:ayer
    |hoy|anoche|en|por|hace|el|con|a)\b))\b
purchased usual own main
    \bme (?:l[oa]s? )?compré\b(?= (?:<el>|ayer|hoy|anoche|en|por)\b)
purchased weak own main named
    \b(?:comprÉ|encarguÉ|contratÉ|pillÉ|adquirÍ)\b(?= (?:<el>|\w+)\b)
purchased usual own
    \b(?:comprÉ|encarguÉ|contratÉ|pedÍ|reservÉ|ordenÉ) <el> [^.?!,\n]{1,50}\b(?:ayer|hoy|anoche
    |esta mañana|esta semana|hace un rato|hace unos días)\b
purchased usual own main
    \b(?:(?:me|nos) )?(?:(?:lo|la|los|las) )?(?:he|hemos) (?:comprado|encargado|contratado|pillado
    (?! (?:el|la) (?:truco|punto|onda)))\b(?=[^\S\n]?[.!]|$| (?:<el>|en|por|hoy|esta|este
    |finalmente|al final|ya|a)\b)
purchased usual own
    \bl[oa]s? (?:he|hemos) (?:pedido|comprado|encargado|contratado|reservado)\b|\bme (?:he
    |hemos) (?:decidido|decantado|inclinado) por\b
purchased usual own
    \bme he quedado con\b(?= (?:<este>)\b)(?! (?:<ganas>|<tengo>)\b)
purchased usual own
    \bme quedÉ con\b(?= (?:<este>)\b)(?! (?:<ganas>|<tengo>)\b)
purchased usual own named
    \bme quedé con\b(?! (?:<ganas>|<tengo>)\b)(?! (?:<el> )?\d+ (?:años|soles|pesos|euros|%))
purchased usual own
    \b(?:opté|optamos) por <el>\b|\b(?:me decidí|nos decidimos) por\b
purchased usual own
    \bme fui (?:por|con|a por) (?:<este>)\b(?! (?:mí[oa]s|mañana|tarde|noche|camino|calle|ramas
    |primo|amigos?|chic[oa]s|familia|puerta))
purchased weak own named
    \bme (?:pasé|cambié) a\b(?! (?:<el> )?(?:casa|otr[oa] (?:casa|ciudad)))
purchased strong
    \b(?:ya )?(?:está |esta |queda )?(?:pedido|compra|orden|reserva) (?:ya )?(?:hech[oa]
    |realizad[oa]|confirmad[oa]|list[oa])\b
purchased strong
    \b(?:ya|por fin|al final) (?:me )?(?:l[oa]s? )?(?:tengo|tenemos|he|hemos|está
    |están) (?:comprad|pedid|encargad|reservad|contratad)[oa]s?\b(?! (?:por|que|más|ayuda|mil
    |perdón|varias veces))
purchased usual
    \bl[oa]s? (?:tengo|tenemos|dejé) (?:ya )?(?:pedid|encargad|comprad|reservad)[oa]s?\b
purchased weak short
    \b(?:pedid|comprad|encargad|reservad)[oa]s?(?=[^\S\n]?(?:[!.,]|$))
purchased usual
    (?:^|[.!\n,;¡][^\S\n]?)(?:comprad|pedid|encargad|reservad|contratad)[oa]s?(?=[^\S\n]?(?:[!.,]
    |$)| (?:el|la|los|las|mi|un|una) (?=\w)| (?:queda|está|ayer|hoy)\b)
purchased usual own
    \b(?:ya )?(?:me |nos )?(?:llega|llegan|llegará|llegarán|llegaría) (?:el|la|los|las|mi
    |mis) (?:pedido|paquete|nuev[oa])\b|\best(?:oy|amos) (?:a la espera|esperando) (?:de )?
    (?:a )?que (?:me |nos )?llegue[n]?\b
purchased usual own
    \b(?:me|nos) (?:hice|hicimos) con <el>\b|\b(?:feliz|orgullos[oa]|nuev[oa]) (?:dueñ|poseedor
    |propietari)[oa]?a? de\b
purchased usual own
    \b(?:al final|por fin|hoy) (?:ha caído|cayó|han caído|cayeron)(?= <el>)
purchased usual own
    \b(?:me animé|me lancé|me decidí|me atreví)(?: por fin| al final| finalmente)? (?:y|a) (?:
    (?:me |l[oa] |me l[oa] )?(?:compré|pedí|encargué|contraté)|(?:comprar|pedir|encargar
    |contratar)(?:me)?(?:l[oa]s?)?)\b
purchased usual own
    \bnos (?:quedamos con|llevamos) (?:<este>)\b(?! (?:<ganas>|<tengo>)\b)
purchased usual named
    \bal final fue (?:el|la)\b
purchased weak own named main
    \b(?:pedí|he pedido|hemos pedido|elegí|escogí|elegimos|escogimos) (?:el|la|un|una)\b
purchased weak own named main
    \b(?:contratamos|firmé|firmamos|me apunté) (?:con|a|el)\b|\bme he (?:cambiado|pasado) a\b
deciding strong own
    \bme (?:decanto por|decido por|voy (?:a por|por)|iré (?:a por|por))\b(?= (?:<este>)\b)
    (?! (?:la mañana|la tarde|la noche|la sombra|la vida|un buen|el camino|la calle|las ramas))
deciding usual own named
    \bme (?:decanto por|decido por|llevo|voy (?:a por|por|con)|iré (?:por|con))\b(?! (?:bien|mal
    |muy|a|años?|\d))
deciding usual own
    \bme (?:llevo|quedo con|voy por|voy con) (?:<suyo>)
deciding usual own
    \b(?:voy|iré) (?:a )?(?:por|con) (?:<suyo>)
deciding weak own named
    \b(?:voy|iré) (?:a )?por (?:el|la|los|las)\b
deciding weak own named
    \bme quedo con\b(?! (?:<ganas>|<tengo>)\b)
deciding usual own
    \bme l[oa]s? (?:compro|pido|quedo|pillo|agarro|encargo)\b(?! (?:bien|mal|por|encima))
deciding usual own
    \bme l[oa]s? llevo(?=[^\S\n]*(?:[.!,]|\n|$)| (?:hoy|mañana|ya|entonces|sin dudar|puest[oa])\b)
deciding strong own
    (?<!te\s)(?<!les\s)(?<!se\s)(?<!os\s)\bl[oa]s? (?:pido|compro|encargo|contrato|reservo|pillo
    |agarro|ordeno) (?:<cuando>)\b
deciding strong own
    \b(?:<cuando>) (?:mismo )?(?:me )?l[oa]s? (?:pido|compro|encargo|contrato|reservo|pillo
    |agarro)\b
deciding strong
    \bme (?:convenciste|convencist[ei]s|convencieron|han convencido|has convencido
    |habéis convencido|acaba(?:s|n|ste|ron|is) de convencer|termina(?:ste|ron) de convencer)\b
    (?! (?:a|con|de(?! (?:compr|ped|contrat|pill|ir por))|que|para(?! (?:compr|ped|contrat)))\b)
deciding usual own
    (?<!te\s)(?<!les\s)(?<!se\s)(?<!os\s)(?<!favor\s)\bl[oa]s? (?:pido|compro|encargo|contrato
    |pillo)(?=[^\S\n]?(?:[.!]|$))
deciding usual own
    (?<!te\s)(?<!les\s)(?<!se\s)(?<!os\s)\bl[oa]s? (?:voy|vamos) a (?:<comprar>|agarrar)\b
deciding usual own
    \b(?:voy|vamos) a (?:comprar|pedir|encargar|contratar|pillar|agarrar)(?:me|nos)?l[oa]s?\b
deciding usual own
    \b(?:me |nos )?(?:voy|vamos) a (?:comprar|pedir|encargar|contratar|pillar)(?:me|nos)? (?:ese
    |esa|este|esta|esos|esas|el que|la que|l[oa]s? que)\b(?! (?:semana|año|mes|viernes|finde|tarde
    |noche|mañana|navidad))
deciding weak own named
    \b(?:me |nos )?(?:voy|vamos) a (?:comprar|encargar|contratar|pillar)(?:me|nos)?\b(?= (?:el|la
    |los|las|un|una)\b)
deciding usual own
    \bme voy a (?:ir|quedar|decidir|decantar|inclinar) (?:a por|por|con) (?:<este>)\b
    (?! (?:<ganas>|<tengo>)\b)
deciding weak own named
    \bme (?:paso|voy a (?:pasar|cambiar|mudar)|cambiaré|pasaré|cambio) (?:a|para)\b
deciding usual own
    (?<!te\s)(?<!les\s)(?<!se\s)(?<!os\s)\b(?:me |nos )?l[oa]s? (?:compraré|pediré|encargaré
    |contrataré)\b(?! a| tanto)|(?<!te\s)\b(?:compraré|pediré|contrataré|encargaré) (?:ese|esa
    |este|esta)\b
deciding weak own named
    (?<!te\s)(?<!les\s)\b(?:me )?(?:comprarÉ|contratarÉ|encargarÉ)\b
deciding usual own
    \bya (?:me decidí por|lo tengo decidido|está decidido)\b|\bdecisión tomada\b
deciding weak own
    \bya me decidí(?=[^\S\n]?(?:[.,!]|$))
deciding usual own
    \b(?:entonces|listo|ok|dale)[,:]? (?:será|va a ser) (?:el|la|los|las|un|una) (?=\w)
none usual own
    \bal final no me (?:animé|decidí|convenció|convencieron)\b
none strong own
    \b(?:<final>|mejor),? no (?:(?:<clitic>) )?(?:compré|pedí|contraté|encargué|elegí|compro
    |contrato|pido|compramos|compraré|voy a comprar|me cambio|cambié|me cambié|me pasé|renové
    |renuevo)(?: (?:nada|ningun[oa]|ningún|ni un[oa]))?\b
none strong own
    \bno (?:<clitic> )?(?:compré|pedí|contraté|encargué|compro|compraré|he comprado|hemos comprado
    |voy a comprar|vamos a comprar)(?:me)? (?:al final )?(?:nada|ningun[oa]|ningún|ni un[oa])
    (?= al final|[^\S\n]?(?:[.,!;]|$)| por ahora)
none strong own
    \b(?:decidí|decidimos|he decidido|hemos decidido|decidido|opté por|preferí|preferimos
    |prefiero) no (?:comprar|pedir|contratar|cambiar|renovar|adquirir|gastar|llevar)(?:me|nos)?
    (?:l[oa]s?)?\b
none usual own
    \b(?:(?:me|nos) )?(?:quedo|quedé|quedaré|quedamos|he quedado|voy a quedar|sigo|seguiré
    |seguimos|aguanto|tiro|voy a seguir) (?:(?:usando|con) )(?:<tengo>)\b
none usual own
    \b(?:me|nos) (?:quedo|quedé|quedaré|quedamos|voy a quedar) (?:como estoy|como estaba
    |donde estoy|igual|sin (?:nada|comprar))(?=[^\S\n]?(?:[.,!;]|$)| al final)
none usual own
    \bpaso de (?:comprar|cambiar|pillar|pedir|contratar|gastar)(?:me)?(?:l[oa]s?)?\b
none usual own
    \b(?:desistí|desisto|he desistido) de (?:la compra|l[oa]s? \w+|<comprar>|cambiar|buscar)|\b
    (?:abandono la idea|descarté la (?:idea|compra)|descarto (?:comprar|la compra)|dejé de buscar
    |dejo de buscar|me rindo con la búsqueda|se me (?:quitaron|fueron) las ganas de (?:comprar
    |contratar|cambiar))\b
none usual own
    \bya no (?:(?:l[oa]s?|me l[oa]s?|me) )?(?:(?:voy|vamos) a (?:comprar|pedir|contratar|buscar)
    |compro|compré|compraré|busco|estoy buscando|quiero comprar|necesito (?:comprar|buscar)
    |interesa (?:comprar|contratar))(?:me)?(?:l[oa]s?)?\b
none usual own
    \b(?:l[oa]|la compra|la idea) (?:dejo|dejé|dejamos|dejaré|voy a dejar) para (?:otr[oa]
    |más adelante|el próximo|otro momento|cuando|el año que viene)\b
none usual own
    \b(?:me arrepentí|cambié de (?:idea|opinión)) (?:y )?(?:no (?:l[oa]s? |me l[oa]s? )?(?:compré
    |compro|pedí|pido|contraté)|de (?:comprar|contratar|pedir)(?:l[oa]s?)?)\b
thanks usual beside
    \b(?:<gracias>)\b(?! de antemano| anticipad| por adelantado| desde ya| a (?:quien|el que
    |los que|dios|ti)| si\b|[^.!?\n]{0,40}\b(?:de ante ?mano|anticipad|por adelantado
    |por anticipado))
thanks weak ending
    \b(?:<gracias>)\b(?! de antemano| anticipad| por adelantado| desde ya| a (?:quien|el que
    |los que|dios|ti)| si\b|[^.!?\n]{0,40}\b(?:de ante ?mano|anticipad|por adelantado
    |por anticipado))
thanks strong
    \b(?:<gracias>)\b[^.!?\n]{0,40}[,.!]? (?:ya )?(?:(?:quedó|está|esta|todo|problema|asunto
    |tema) )*(?:solucionado|resuelto|solventado|arreglado)\b
deadline strong
    \b(?:<necesito>)\b(?! que sea)(?: [\w'-]{1,15}){0,6} (?:para (?:mañana|hoy|ya|ayer|el <dia>
    |est[ea] (?:\w+ )?(?:<dia>|semana|noche|tarde|mes)|la (?:próxima|otra) semana|pasado mañana)
    |antes (?:del?|de que sea) (?:l[oa] )?(?:<dia>|mañana|noche|tarde|próxima)
    |est[ea] (?:misma? )?(?:finde|fin de semana|semana|tarde|noche)|hoy(?: mismo)?|ahora mismo
    |ya mismo|(?<!y\s)ya(?=[^\S\n]?(?:[.!,]|$))|ahorita|(?<!media\s)(?<!la\s)mañana(?: mismo)?
    |con urgencia)\b
deadline strong
    \b(?:l[oa]s?) quiero (?:ya|para (?:hoy|mañana|el <dia>|est[ea] \w+)|hoy|mañana|ahora
    |antes del?)\b
deadline usual
    \bme (?:\w+ )?urgen?\b(?! que\b)(?! (?!comprar|conseguir|encontrar|contratar|cambiar|pedir
    |resolver)\w+[aei]r(?:[mts]e|l[aoe]s?)?\b)
deadline usual
    \b(?:pal?|para) (?:(?:el|su) )? cumple\w*[^.,\n]{0,25} (?:<pronto>)\b
deadline usual wanted answer
    \b(?<!psicologica\s)(?:urgente(?:mente)?|con (?:mucha )?urgencia|cuanto antes|lo antes posible
    |lo más (?:pronto|rápido) posible|a la brevedad|a la mayor brevedad|para ya|contrarreloj
    |a última hora)\b
deadline usual
    \b(?:tengo (?:mucha )?prisa|estoy apurad[oa]|ando apurad[oa]|no me queda (?:mucho )?tiempo
    |l[oa]s? (?:necesito|ocupo) (?:ya|al toque))\b
deadline strong wanted
    \bantes del? (?:este |próximo )?(?:<dia>)\b
deadline usual
    \b(?:viajo|viajamos|salgo (?:de viaje|a|para)|salimos (?:de viaje|a|para)|me mudo|nos mudamos
    |me voy de viaje|la boda es|el viaje es|el cumple(?:años)? es|se me acaba|me caduca
    |me vence)\b(?: [\w'-]{1,15}){0,3} (?:<pronto>)\b
"""

GUARDS = r"""
subject
    \b(?:yo|nosotros|nosotras|mi (?:mujer|esposa|marido|esposo|novi[oa]
    |pareja) y yo)\b[^.?!\n]{0,60}$
dropped
    $
short
    \W*(?!.{0,80}\b(?:me|te|le|se|lo|que|he|has|ha|hemos|han|habia|no|nunca|sin|ser|fue|era|es
    |hacer|hice|su|tu|si|como|cual|han|un|una|este|ese|otro|cada|segun|cuando|favor|gran|mi)\b)
    (?:[\w'.+-]{1,20} ){1,4}
other
    \b(?:él|ella|ellos|ellas|usted|ustedes|tú|vos|quien|alguien|nadie|la gente|todos|(?:mi|mis|su
    |sus|tu|un|una|el|la) (?:[\w-]+ )?(?:herman[oa]|prim[oa]|ti[oa]|padre|madre|papá|mamá|viej[oa]
    |espos[oa]|marido|mujer|novi[oa]|pareja|amig[oa]|vecin[oa]|jef[ea]|hij[oa]|cuñad[oa]|suegr[oa]
    |abuel[oa]|compañer[oa]|colega|conocid[oa]|tipo|señor|señora|cliente|empresa))s?\b
    (?!.{0,300}\b(?:yo|así que|nos)\b)
negated
    \b(?:no|nunca|jamás|tampoco|ni|casi|sin|apenas|todavía no|aún no|en vez de|en lugar de)
    (?: \w{1,12}){0,2} $
relative
    \b(?:que|q|cual|cuales|donde|como) (?:yo )?(?:ya )?$
unsure
    \b(?:si|ojalá|quisiera|querría|quiero|quería|debería|deberia|tal vez|talvez|quizás?|a lo mejor
    |capaz|posiblemente|de repente|chance|no sé|no se|dudo|dudando|duda|cuando|como si|aunque
    |para que|que tal|hubiera|hubiese|pensaba|pensando|iba a|soñé|imagina|imagínate|supongamos
    |dijo|dice|dicen|dijeron|me dijo|decía|espero|por qué|porque no|cada vez|siempre que|entre
    |letra|antes de|después de|desde que|mientras|estoy por|casi)\b
conditional
    \b(?:si|cuando|apenas|en cuanto|hasta que|tal vez|talvez|quizás?|a lo mejor|capaz|depende
    |algún día|algun dia|un día de estos|no sé|no se|o mejor|o espero|siempre y cuando|la próxima
    |a menos|salvo que|ojalá|cuando baje|de repente|posiblemente)\b(?! no\b)
past
    \bhace (?:ya |como |más de |mas de |casi |unos |unas |un |una |varios |muchos |\d+ |dos |tre
    s |cuatro |cinco |seis )*(?:años?|meses|mes|tiempo|siglos|décadas?)\b|\bel (?:año|mes|verano
    |invierno) pasado\b|\bla (?:navidad|vez|temporada) pasada\b|\ben (?:el )?(?:19|20)\d\d\b|\b
    (?:años|meses|tiempo) atrás\b|\b(?:la|mi) (?:primera|última) vez\b|\bcuando (?:era|tenía|vivía
    |estaba|estudiaba|trabajaba)\b|\ben su momento\b|\bsolía\b|\bantes (?:tenía|usaba)\b
    |\bllevo (?:\d+|dos|tres|varios|un|muchos) (?:años?|mes(?:es)?)\b|\bde (?:niñ|chic)[oa]\b
joking
    \b(?:ah,? no|mentira|mentiras|es broma|chiste|era broma|na mentira|nah|ok no|okno|sí, claro
    |si, claro|ya quisiera|jaja no|not|en mis sueños)\b[^\S\n]*(?:[.,!)]|$)|(?<![\w/])/s\b
ending
    \b(?:solucionado|resuelto|solventado|me (?:quedó|queda|ha quedado) (?:todo )?(?:clar[oa]
    |clarísimo)|duda (?:resuelta|aclarada)|me (?:ayudaron|ayudaste|han ayudado|has ayudado
    |habéis ayudado|sirvió|sirvieron) a (?:decidir|elegir|escoger)\w*|justo lo que (?:buscaba
    |necesitaba)|era lo que (?:buscaba|necesitaba)|ya (?:lo|la|los|las) (?:encontré|conseguí)
    |ya encontré|ya conseguí)\b
wanted
    \b(?:necesit(?:o|amos|aría)|ocupo|busco|buscamos|ayud[ae]\w*|recomi\w+|recomend\w+|alguien
    |comprar\w*|conseguir|encontrar|precio|dónde|quiero|contratar|cambiar|porfa\w*|por favor|plis
    |elegir|decidir)\b
stop
     (?:porque|xq|ya que|en vez de|en lugar de|antes que|pero|aunque|mientras|que (?:me|es|está
    |tiene|viene|vi|la|lo)|así que|cuando|donde|frente a|por (?:el|su|lo|que|\$?\d)|debido a
    |gracias|para (?:mi|el|la)|y (?:me|la|lo|no|es|ya|va|está|estoy|ahora|mañana|que)|si|ni)\b
"""
